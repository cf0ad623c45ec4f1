"""A metric that comes after training counts once it has a baseline of its own, and says nothing before."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.core.fleets import ready_state
from tests.unit.detection_fakes import START_MS, TICK, Store, fleet, service, trained
from treeline.core.detection.metric_warmup import UNKNOWN, warm_up_metrics
from treeline.core.detection.warmup import observations_needed
from treeline.core.model.handover import hand_over

STEP_S = 600.0
STEP_MS = 600_000  # a day in few observations
TRAIN, NEEDED = 7 * 144, observations_needed(STEP_S)
NEW = 2  # the metric that no server reports in training


@pytest.fixture(scope="module")
def whole():
    return fleet(3, TRAIN + NEEDED + 60, step_ms=STEP_MS)


@pytest.fixture(scope="module")
def package(whole):
    past = whole.values[:TRAIN].copy()
    past[:, :, NEW] = np.nan
    return trained(replace(whole, times_ms=whole.times_ms[:TRAIN], values=past))


def run(package, whole, values):
    """A store after all of the present; its blocks and alerts tell."""
    store = Store(package)
    for t in range(TRAIN, len(whole.times_ms)):
        for i, server in enumerate(whole.servers):
            store.add(server, START_MS + t * STEP_MS, values[t, i])
    service(store).run(TICK)
    return store


def test_its_first_value_is_no_deviation_and_nobody_is_paged(package, whole):
    absent = whole.values.copy()
    absent[:, :, NEW] = np.nan

    with_it, without = run(package, whole, whole.values), run(package, whole, absent)

    assert with_it.alerts == without.alerts == []
    warming = START_MS + (TRAIN + NEEDED - 1) * STEP_MS
    before = {key: row for key, row in with_it.scored().items() if key[1] < warming}
    assert before == {key: row for key, row in without.scored().items() if key[1] < warming}


def test_after_a_day_it_has_its_own_baseline_and_a_fault_in_it_is_found(package, whole):
    values = whole.values.copy()
    values[-20:, 1, NEW] += 40.0

    store = run(package, whole, values)

    state = store.load(0, package.model_version).state
    learned = whole.values[TRAIN : TRAIN + NEEDED, :, NEW]
    assert state.base_mean[:, NEW] == pytest.approx(learned.mean(axis=0), rel=1e-3)
    assert state.base_spread[:, NEW] == pytest.approx(learned.std(axis=0), rel=0.02)
    assert {a.server_id for a in store.alerts} == {whole.servers[1]}
    assert store.alerts[0].metrics[0].name == package.metrics[NEW]


def test_while_it_warms_up_it_is_in_no_evidence(package, whole):
    values = whole.values.copy()
    values[TRAIN + 100 : TRAIN + 130, 1, 0] += 60.0

    opened = run(package, whole, values).alerts[0]

    assert package.metrics[NEW] not in [m.name for m in opened.metrics]
    assert all(np.isfinite([m.expected, m.low, m.high, m.deviation]).all() for m in opened.metrics)


def test_a_new_model_that_knows_the_metric_brings_its_baseline_and_one_that_does_not_keeps_what_was_learned(
    package, whole
):
    knows = trained(replace(whole, times_ms=whole.times_ms[:TRAIN], values=whole.values[:TRAIN]), version="m2")
    store = Store(package)
    for t in range(TRAIN, TRAIN + 100):
        for i, server in enumerate(whole.servers):
            store.add(server, START_MS + t * STEP_MS, whole.values[t, i])
    service(store).run(TICK)
    old = store.load(0, package.model_version).state
    assert (old.base_spread[:, NEW] == UNKNOWN).all()

    calibration = package.calibration
    better, same = (hand_over(new, old, calibration=calibration) for new in (knows, package))

    assert better.base_spread[:, NEW] == pytest.approx(knows.seeds.base_spread[:, NEW])
    assert same.base_mean[:, NEW].tolist() == [100.0] * 3, "goes on counting"
    for state in (better, same):
        for name in ("recent", "trend_mean", "season_square", "day_mean", "day_var"):
            assert np.isfinite(getattr(state, name)).all(), name


def warming(values):
    """A ready server's state after values of a metric that training did not know, one a day."""
    state = ready_state(1, metrics=2)
    for name in ("base_spread", "base_mean", "day_mean", "day_var"):
        state.arrays()[name][0, 1] = UNKNOWN
    for value in values:
        counted = warm_up_metrics(state, np.array([0]), np.array([[50.0, value]], np.float32), step_s=86_400.0)
        assert counted[0].tolist() == pytest.approx([50.0, math.nan], nan_ok=True), "it says nothing yet"
    return state


def test_the_first_ten_values_are_learned_as_they_are_and_later_ones_within_nine_times_the_variance():
    state = warming([49.0, 51.0] * 5)
    assert (state.day_mean[0, 1], state.day_var[0, 1]) == (50.0, pytest.approx(1.0))
    state = warming([49.0, 51.0] * 5 + [1e6])
    assert state.day_mean[0, 1] == pytest.approx(50.0 + math.sqrt(9.0 * 1.0 * 11) / 11)
    assert state.day_var[0, 1] == pytest.approx(10 / 11 * (1.0 + 9.0))
    assert warming([50.0] * 9 + [1050.0]).day_mean[0, 1] == pytest.approx(150.0)


@pytest.mark.parametrize(("values", "known"), [(19, False), (20, True)])
def test_a_metric_that_has_been_seen_for_long_enough_begins_with_what_is_typical(values, known):
    state = warming(([49.0, 51.0] * 10)[:values])
    assert (state.base_spread[0, 1] != UNKNOWN) == known
    if known:
        assert (state.base_mean[0, 1], state.base_spread[0, 1]) == (50.0, pytest.approx(1.0))
        assert (state.day_mean[0, 1], state.day_var[0, 1]) == (0.0, pytest.approx(1.0))
        assert state.recent[0, :, 1].tolist() == pytest.approx([1.0] * 10), "the last value, in the new spread"
        assert (state.trend_mean[0, 1], state.season_square[0, 1]) == (0.0, pytest.approx(1.0))
        assert (state.mean10_mean[0, 1], state.mean10_var[0, 1]) == (0.0, pytest.approx(0.49))
        assert (state.mean10_floor[0, 1], state.change_floor[0, 1]) == pytest.approx((0.07, 0.07), rel=1e-3)
        assert state.residual_scale[0, 1] == pytest.approx(1.0)
        assert (state.tail_start[0, 1], state.tail_scale[0, 1]) == (2.0, 1.0)
        assert state.change_var[0, 1] == pytest.approx(0.49)
        assert state.base_mean[0, 0] == 50.0, "the others stay as they are"
