"""The evidence of an observation: what each metric is held against, which others imply it, and how that reads."""

from dataclasses import asdict

import numpy as np
import pytest

from treeline.core.alert import ExpectedBy, ImplyingMetric, MetricEvidence
from treeline.core.detection.evidence import NO_METRIC, Bands, metric_evidence, weightiest
from treeline.core.expectation.expectation import Basis
from treeline.core.profile import DEFAULT_METRICS
from treeline.core.wording import moved, spoken

NAMES = tuple(metric.name for metric in DEFAULT_METRICS)
DECLARED = {metric.name: metric for metric in DEFAULT_METRICS}
USUAL = np.array([40.0, 55.0, 200.0, 900.0])


def bands(**changes):
    """Everything usual, the metrics in order: cpu, memory, network, disk; memory follows from cpu and network."""
    held = Bands.blank((4,))
    held.expected[:], held.spread[:] = USUAL, USUAL / 30
    held.implied[:], held.implied_spread[:] = USUAL, USUAL / 30
    held.basis[:] = Basis.SEASON
    held.implied_by[1] = [0, 2]
    for name, (place, value) in changes.items():
        getattr(held, name)[place] = value
    return held


def shown(measured, held=None, declared=DECLARED):
    return {m.name: m for m in metric_evidence(NAMES, np.array(measured), held or bands(), declared)}


def test_what_left_its_usual_range_stands_before_what_only_does_not_fit_it():
    """And each kind by how far it is away."""
    held = bands(implied=(3, 2000.0))
    held.implied[1] = 500.0
    order = list(shown([60.0, 55.0, 900.0, 900.0], held))
    assert order == ["network_mbps", "cpu_percent", "memory_percent", "disk_iops"]


def test_a_band_holds_only_values_that_can_be_and_its_middle_too():
    found = shown([5.0, 97.0, 10.0, 10.0], bands(expected=(0, 2.0), spread=(0, 3.0), implied=(1, 130.0)))
    cpu, memory = found["cpu_percent"], found["memory_percent"]
    assert (cpu.low, cpu.expected, cpu.high) == (0.0, 2.0, 11.0)
    assert (memory.implied_low, memory.implied, memory.implied_high) == (100.0, 100.0, 100.0)
    assert memory.is_unrelated
    undeclared = shown([5.0, 97.0, 10.0, 10.0], bands(expected=(0, 2.0), spread=(0, 3.0)), {})
    assert undeclared["cpu_percent"].low == -7.0


def test_the_edges_belong_to_the_band():
    held = bands(spread=(0, 2.0), implied_spread=(0, 4.0))
    assert not shown([46.0, 55.0, 200.0, 900.0], held)["cpu_percent"].is_outside
    beyond = shown([46.01, 55.0, 200.0, 900.0], held)["cpu_percent"]
    assert (beyond.is_unexpected, beyond.is_unrelated, beyond.is_told_by_relation) == (True, False, False)


def test_a_missing_value_is_shown_and_is_no_evidence():
    found = shown([np.nan, 55.0, 200.0, 900.0])
    assert found["cpu_percent"].measured is None
    assert not found["cpu_percent"].is_outside


def test_a_metric_without_a_baseline_is_left_out_and_one_without_a_relation_implies_nothing():
    found = shown(USUAL, bands(spread=(3, 0.0), implied=(1, np.nan)))
    assert "disk_iops" not in found
    assert (found["memory_percent"].implied, found["memory_percent"].implied_by) == (None, ())


def test_the_two_metrics_that_weigh_most_are_those_of_the_largest_weight_times_residual():
    weights = np.array([[[1.0, -0.5, -0.1], [-0.2, 1.0, 0.3], [0.0, 0.0, 1.0]]])
    found = weightiest(weights, np.array([[1.0, 1.0, 10.0]]))
    assert found.tolist() == [[[2, 1], [2, 0], [NO_METRIC, NO_METRIC]]]
    assert weightiest(np.ones((2, 1, 1)), np.ones((2, 1))).tolist() == [[[NO_METRIC] * 2]] * 2


def test_what_would_have_been_usual_is_the_expected_value_but_where_only_the_relation_is_violated():
    held = bands(implied=(1, 90.0))
    value, spread = held.usual(np.array([95.0, 55.0, 200.0, 900.0]))
    assert value == pytest.approx([40.0, 90.0, 200.0, 900.0])
    assert spread == pytest.approx(USUAL / 30)


@pytest.mark.parametrize(
    ("measured", "held", "name", "said"),
    [
        ([97.0, 55.0, 200.0, 900.0], bands(), "cpu_percent", "cpu 97 %, expected 40 (36 to 44) at this time of day"),
        ([97.0, 55.0, 200.0, 900.0], bands(basis=(0, Basis.DAY)), "cpu_percent",
         "cpu 97 %, expected 40 (36 to 44) going by the last day"),
        ([60.0, 55.0, 410.0, 900.0], bands(implied=(1, 71.0), implied_spread=(1, 2.0)), "memory_percent",
         "memory 55 %, while cpu 60 % and network 410 Mbit/s imply 71 % (65 to 77)"),
        ([60.0, 55.0, np.nan, 900.0], bands(implied=(1, 71.0), implied_spread=(1, 2.0)), "memory_percent",
         "memory 55 %, while cpu 60 % implies 71 % (65 to 77)"),
        ([40.0, 55.0, 200.0, 1900.0], bands(), "disk_iops",
         "disk iops 1,900 /s, expected 900 (810 to 990) at this time of day"),
        ([np.nan, 55.0, 200.0, 900.0], bands(), "cpu_percent",
         "cpu missing, expected 40 (36 to 44) at this time of day"),
    ],
)  # fmt: skip
def test_a_metric_reads_as_people_say_it(measured, held, name, said):
    assert moved(shown(measured, held)[name]) == said


def test_a_name_is_shortened_only_by_what_its_unit_says_anyway():
    assert spoken("cpu_percent", "%") == "cpu"
    assert spoken("cpu_percent", "") == "cpu percent"
    assert spoken("percent", "%") == "percent"


def test_an_alert_of_an_earlier_version_is_read_and_told_without_what_it_does_not_say():
    body = {"name": "cpu_percent", "unit": "%", "measured": 97.0, "expected": 40.0, "low": 36.0, "high": 44.0,
            "deviation": 42.8}  # fmt: skip
    metric = MetricEvidence.from_json(body)
    assert (metric.expected_by, metric.implied, metric.is_outside) == (None, None, True)
    assert moved(metric) == "cpu 97 %, expected 40 (36 to 44)"


def test_what_is_told_of_a_metric_survives_the_wire():
    metric = shown([60.0, 55.0, 410.0, 900.0], bands(implied=(1, 71.0)))["memory_percent"]
    assert metric.expected_by is ExpectedBy.TIME_OF_DAY
    assert metric.implied_by[0] == ImplyingMetric(name="cpu_percent", unit="%", measured=60.0)
    assert MetricEvidence.from_json(asdict(metric)) == metric
