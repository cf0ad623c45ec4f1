"""Which deviations matter: a metric's declared limits held against its value and its band."""

import json
import math

import numpy as np
import pytest

from treeline.core.limits import MetricLimits, clip_band, is_evidence, is_saturated, possible_values
from treeline.core.observation import Observation
from treeline.core.profile import DEFAULT_METRICS, Direction, Metric
from treeline.sources.treeline_json import ObservationDecoder


def counts(metric: Metric, value: float, expected: float, low: float, high: float) -> bool:
    """What is said of one value of one metric."""
    row = (np.array([[number]], dtype=np.float32) for number in (value, expected))
    found = is_evidence(*row, np.array([[value < low or value > high]]), MetricLimits.of([metric]))
    assert found.shape == (1, 1)
    return bool(found[0, 0])


@pytest.mark.parametrize(
    ("direction", "above", "below"),
    [(Direction.UP, True, False), (Direction.DOWN, False, True), (Direction.BOTH, True, True)],
)
def test_a_deviation_counts_on_the_side_that_matters(direction, above, below):
    metric = Metric(name="a", direction=direction)
    assert counts(metric, 61.0, 50.0, 40.0, 60.0) is above
    assert counts(metric, 39.0, 50.0, 40.0, 60.0) is below


@pytest.mark.parametrize("value", [40.0, 50.0, 60.0])
def test_nothing_within_its_band_counts_however_far_from_what_is_expected(value):
    """Outside means what people see as outside: the edges belong to the band."""
    assert not counts(Metric(name="a", minimum=0.0), value, 100.0, 40.0, 60.0)


def test_a_deviation_must_reach_both_its_smallest_amounts():
    metric = Metric(name="a", minimum_deviation=4.0, minimum_relative_deviation=0.125)
    assert not counts(metric, 5.0, 2.0, 1.0, 3.0), "3 away: half as much again, and still nothing"
    assert counts(metric, 6.0, 2.0, 1.0, 3.0), "4 away"
    assert not counts(metric, 71.0, 64.0, 63.0, 65.0), "7 away of 64: less than an eighth"
    assert counts(metric, 72.0, 64.0, 63.0, 65.0), "8 away of 64"
    assert not counts(metric, 57.0, 64.0, 63.0, 65.0), "the same downwards"
    assert not counts(metric, -71.0, -64.0, -65.0, -63.0), "the share is of the size, whatever the sign"


def test_a_fall_to_nothing_counts_however_small_the_metric_usually_is():
    metric = Metric(name="a", minimum=10.0, minimum_deviation=100.0)
    assert counts(metric, 10.0, 30.0, 25.0, 35.0)
    assert counts(metric, 11.0, 30.0, 25.0, 35.0), "a twentieth of the 20 above the smallest value is left"
    assert not counts(metric, 11.5, 30.0, 25.0, 35.0)
    assert not counts(metric, 10.0, 30.0, 10.0, 35.0), "falls that far are usual"


def test_a_fall_to_nothing_does_not_count_where_only_rises_matter():
    assert not counts(Metric(name="a", minimum=0.0, direction=Direction.UP), 0.0, 30.0, 25.0, 35.0)


def test_without_a_smallest_value_there_is_no_nothing():
    assert not counts(Metric(name="a", minimum_deviation=100.0), 0.0, 30.0, 25.0, 35.0)


@pytest.mark.parametrize("missing", range(3))
def test_what_is_not_known_is_no_evidence(missing):
    known = [90.0, 50.0, 40.0, 60.0]
    assert counts(Metric(name="a", minimum=0.0), *known)
    known[[0, 1, 3][missing]] = math.nan
    assert not counts(Metric(name="a", minimum=0.0), *known)


def test_each_metric_is_held_to_its_own_limits():
    limits = MetricLimits.of([Metric(name="a"), Metric(name="b", minimum_deviation=30.0)])
    values = np.array([[70.0, 70.0], [50.0, 81.0]])
    outside = (values < 40.0) | (values > 60.0)
    assert is_evidence(values, np.full((2, 2), 50.0), outside, limits).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("name", "value", "expected", "is_news"),
    [
        ("cpu_percent", 5.0, 2.0, False),
        ("cpu_percent", 54.0, 8.0, True),
        ("cpu_percent", 66.0, 62.0, False),
        ("cpu_percent", 0.0, 2.0, True),
        ("memory_percent", 62.0, 60.0, False),
        ("memory_percent", 98.0, 92.0, True),
        ("network_mbps", 0.9, 0.2, False),
        ("network_mbps", 0.0, 0.2, True),
        ("disk_iops", 12.0, 4.0, False),
        ("disk_iops", 900.0, 60.0, True),
    ],
)
def test_the_default_metrics_let_pass_what_nobody_wants_to_be_woken_for(name, value, expected, is_news):
    """However narrow the band of a steady server is."""
    (metric,) = (m for m in DEFAULT_METRICS if m.name == name)
    assert counts(metric, value, expected, expected - 0.1, expected + 0.1) is is_news


def test_saturated_is_at_or_above_what_was_declared():
    limits = MetricLimits.of([Metric(name="a", saturated_above=97.0), Metric(name="b")])
    values = np.array([[96.9, 1e9], [97.0, math.nan], [math.nan, 97.0], [100.0, 100.0]])
    assert is_saturated(values, limits).tolist() == [[False, False], [True, False], [False, False], [True, False]]


RANGES = (
    Metric(name="a", minimum=0.0, maximum=100.0),
    Metric(name="a", minimum=-40.0, maximum=125.0),
    Metric(name="a", minimum=0.0),
    Metric(name="a", minimum=-20.0),
    Metric(name="a", maximum=60.0),
    Metric(name="a"),
)


def test_a_twentieth_of_the_width_or_of_the_one_end_is_clamped():
    assert [metric.clamped_range for metric in RANGES] == [
        (-5.0, 105.0),
        (-48.25, 133.25),
        (0.0, math.inf),
        (-21.0, math.inf),
        (-math.inf, 63.0),
        (-math.inf, math.inf),
    ]


@pytest.mark.parametrize("metric", RANGES, ids=lambda metric: f"{metric.minimum:g}..{metric.maximum:g}")
@pytest.mark.parametrize(
    "value",
    [-50.0, -48.25, -40.5, -21.5, -21.0, -20.0, -5.5, -5.0, -1e-9, 0.0, 41.5, 60.0, 63.0, 63.5, 100.0, 100.4375, 105.0,
     105.5, 125.0, 133.25, 133.5, 1e12, math.inf, -math.inf, math.nan],
)  # fmt: skip
def test_history_and_ingest_take_the_same_values_as_the_same(metric, value):
    """A model is trained on the one and detects in the other."""
    decoder = ObservationDecoder([metric], max_future_ms=None, max_age_ms=None)
    body = {"server_id": "s", "observed_at": "2026-11-22T15:58:30Z", "metrics": {"a": value}}
    [(_, verdict)] = decoder.judge(json.dumps(body).encode(), 0)
    stored = verdict.metrics["a"] if isinstance(verdict, Observation) else math.nan
    np.testing.assert_array_equal(possible_values(np.array([[value]]), MetricLimits.of([metric])), [[stored]])


def test_values_that_can_be_are_handed_back_as_they_are():
    """The usual case of a long history costs no copy."""
    values = np.array([[0.0, math.nan], [100.0, -5.0]], dtype=np.float32)
    assert possible_values(values, MetricLimits.of([RANGES[0], RANGES[5]])) is values


def test_only_what_cannot_be_is_changed():
    values = np.array([[100.5, 1.0], [41.5, math.inf], [math.nan, -3.0]], dtype=np.float32)
    kept = possible_values(values, MetricLimits.of([RANGES[0], RANGES[5]]))
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, [[100.0, 1.0], [41.5, math.nan], [math.nan, -3.0]])


def test_a_band_keeps_to_what_can_be():
    limits = MetricLimits.of([Metric(name="a", minimum=0.0, maximum=100.0), Metric(name="b")])
    low = np.array([[-4.6, -4.6], [math.nan, 3.0], [101.0, 101.0]])
    high = np.array([[165.9, 165.9], [math.nan, 4.0], [120.0, 120.0]])
    low, high = clip_band(low, high, limits.minimum, limits.maximum)
    np.testing.assert_array_equal(low, [[0.0, -4.6], [math.nan, 3.0], [100.0, 101.0]])
    np.testing.assert_array_equal(high, [[100.0, 165.9], [math.nan, 4.0], [100.0, 120.0]])
