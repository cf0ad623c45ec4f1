"""The Python API decides what a backtest, and thus the deployment, decides; it adds no rule of its own."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import treeline
from tests.unit.detection_fakes import STEP_MS, distance_score, fleet, trained
from training.evaluate.backtest import backtest
from treeline.core.detection.policy import FLEET
from treeline.core.errors import MalformedRecordError, ModelMismatchError

TRAIN, TEST, SERVERS = 2000, 150, 4
POLICY = treeline.PolicySettings(fleet_min_servers=3)


def observation(server, at, values):
    metrics = dict(zip(("cpu_percent", "memory_percent", "network_mbps", "disk_iops"), values, strict=True))
    return treeline.Observation(server_id=server, observed_at_ms=int(at), metrics=metrics)


@pytest.fixture(scope="module")
def history():
    """A package, and a present in which one server goes wrong, then all do, and a value is missing here and there."""
    grid = fleet(SERVERS, TRAIN + TEST)
    grid.values[TRAIN + 20 : TRAIN + 40, 1, 1:] += 60.0
    grid.values[TRAIN + 110 : TRAIN + 140] += 40.0
    grid.values[TRAIN + 5 : TRAIN + 9, 2, 0] = np.nan
    past = replace(grid, times_ms=grid.times_ms[:TRAIN], values=grid.values[:TRAIN])
    return trained(past), replace(grid, times_ms=grid.times_ms[TRAIN:], values=grid.values[TRAIN:])


@pytest.fixture
def package(history):
    return history[0]


@pytest.fixture(scope="module")
def present(history):
    """Observations by step."""
    grid = history[1]
    return [
        [observation(server, at, grid.values[t, i].tolist()) for i, server in enumerate(grid.servers)]
        for t, at in enumerate(grid.times_ms.tolist())
    ]


def told(decisions):
    return [(d.server_id, replace(d.change, row=0)) for d in decisions if d.change]


def figures(decisions):
    """All but the changes, whose rows depend on which server came first; as text, since NaN equals nothing."""
    return sorted(repr(replace(decision, change=None)) for decision in decisions)


def test_it_decides_what_a_backtest_decides(history, present):
    package, grid = history
    detector = treeline.Detector(package, distance_score, policy=POLICY)
    decisions = [decision for step in present for decision in detector.observe(step)]

    offline = backtest(package, grid, distance_score, POLICY)
    own = [d for d in decisions if d.server_id != FLEET]
    for name in ("severity", "score", "threshold"):
        ours = np.array([getattr(d, name) for d in own], dtype=np.float32).reshape(TEST, SERVERS)
        np.testing.assert_array_equal(ours, getattr(offline.trace, name))
    in_order = sorted(told(decisions), key=lambda entry: (entry[1].at, entry[0], entry[1].sequence))
    assert in_order == [(server, replace(change, row=0)) for server, change in offline.changes]
    assert {FLEET, "web-01"} <= {server for server, _ in in_order}


def test_one_call_or_one_for_each_observation_is_the_same(package, present):
    whole = treeline.Detector(package, distance_score, policy=POLICY)
    single = treeline.Detector(package, distance_score, policy=POLICY)
    every = [o for step in present for o in step]
    together, apart = whole.observe(reversed(every)), [d for o in every for d in single.observe([o])]
    assert told(together) == told(apart)
    assert figures(together) == figures(apart)


def test_decisions_come_in_order_of_time_within_a_step_too(package, present):
    detector = treeline.Detector(package, distance_score)
    first, second, *_ = present[0]
    shifted = replace(first, observed_at_ms=first.observed_at_ms + 30_000)
    assert [d.server_id for d in detector.observe([shifted, second])] == [second.server_id, first.server_id]


def test_a_saved_state_goes_on_where_it_was(package, present):
    """Inside an open incident, which the second detector goes on with."""
    first = treeline.Detector(package, distance_score, policy=POLICY)
    assert told(first.observe([o for step in present[:30] for o in step]))
    second = treeline.Detector(package, distance_score, policy=POLICY, state=first.save_state())
    rest = [o for step in present[30:] for o in step]
    assert repr(second.observe(rest)) == repr(first.observe(rest))


def test_evidence_says_what_was_expected(package, present):
    detector = treeline.Detector(
        package, distance_score, policy=POLICY, metrics=[treeline.Metric(name="disk_iops", unit="1/s")]
    )
    decisions = [d for step in present[:30] for d in detector.observe(step)]
    (opened,) = [d for d in decisions if d.change and d.change.event == "opened"]
    assert (opened.server_id, opened.status) == ("web-01", treeline.Status.SCORED)
    assert opened.severity >= 1.5
    assert opened.channel == "score"
    assert sorted(m.name for m in opened.metrics) == sorted(package.metrics)
    worst, calmest = opened.metrics[0], opened.metrics[-1]
    assert worst.measured > worst.high > worst.expected > worst.low
    assert calmest.name == "cpu_percent"  # the only one that did not move, and so does not fit the others
    assert calmest.low < calmest.measured < calmest.high
    assert {each.name for each in calmest.implied_by} < {m.name for m in opened.metrics if m.is_unexpected}
    assert {m.name: m.unit for m in opened.metrics}["disk_iops"] == "1/s"


def test_a_server_the_package_does_not_know_warms_up(package, present):
    detector = treeline.Detector(package, distance_score)
    at = present[0][0].observed_at_ms
    (decision,) = detector.observe([observation("new", at, [1.0, 2.0, 3.0, 4.0])])
    assert decision.status is treeline.Status.WARMING_UP
    assert math.isnan(decision.severity)
    assert decision.metrics == []


def test_late_is_scored_and_changes_nothing_and_a_repetition_is_not_decided_again(package, present):
    detector = treeline.Detector(package, distance_score, policy=POLICY)
    (first, *_), (second, *_), (third, *_) = present[:3]
    detector.observe([first, third])
    assert [d.status for d in detector.observe([first, second, second])] == [treeline.Status.LATE]
    assert detector.observe([second]) == []
    unknown = observation("new", second.observed_at_ms, [1.0] * 4)
    detector.observe([replace(unknown, observed_at_ms=unknown.observed_at_ms + STEP_MS)])
    (late,) = detector.observe([unknown])
    assert (late.status, late.metrics) == (treeline.Status.LATE, [])


@pytest.mark.parametrize(
    ("name", "value", "said"), [("load", 1.0, "no metric 'load'"), ("cpu_percent", math.inf, "inf")]
)
def test_what_cannot_be_meant_is_refused_before_anything_is_decided(package, present, name, value, said):
    detector = treeline.Detector(package, distance_score)
    before = detector.save_state()
    with pytest.raises(MalformedRecordError, match=said):
        detector.observe([*present[0], replace(present[1][0], metrics={name: value})])
    assert detector.save_state() == before


def test_a_state_of_other_metrics_is_refused(package):
    two = replace(package, metrics=package.metrics[:2])
    with pytest.raises(ModelMismatchError, match="the state is of 4 metrics"):
        treeline.Detector(two, distance_score, state=package.new_state().pack())


def test_the_package_without_the_api_needs_no_numpy():
    """Half of the functions have none in their zip."""
    code = "import sys, treeline; assert 'numpy' not in sys.modules; treeline.Detector; assert 'numpy' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        treeline.Nothing  # noqa: B018 - the access is the test
