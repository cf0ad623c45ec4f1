"""When a model is replaced: by a shift that stays, once, and by nothing shorter."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeline.core.errors import SettingsError
from treeline.core.model.drift import (
    DAY_MS,
    HOUR_MS,
    DriftOutcome,
    DriftRules,
    Hour,
    Reference,
    Window,
    count_features,
    evaluate,
    feature_drift,
    reference,
    rolling_shift,
    stability_index,
)

RULES = DriftRules()
START = 1_700_006_400_000 - 1_700_006_400_000 % DAY_MS


def hours(shift_of, days: int = 25) -> list[Hour]:
    """Hourly score shifts by a function of the hour's number."""
    return [Hour(at=START + i * HOUR_MS, scores=shift_of(i)) for i in range(24 * days)]


def daily(history: list[Hour], days: int = 25, **kwargs):
    """An evaluation every midnight, each seeing only the past; retrainings set the cool-down as the service does."""
    last, found = None, []
    for day in range(1, days + 1):
        at = START + day * DAY_MS
        seen = [h for h in history if at - RULES.window_days * DAY_MS <= h.at < at]
        evaluation = evaluate(seen, at, RULES, last_retraining_at=last, **kwargs)
        if evaluation.outcome is DriftOutcome.RETRAIN:
            last = at
        found.append(evaluation)
    return found


def retrainings(evaluations) -> list[int]:
    return [(e.at - START) // DAY_MS for e in evaluations if e.outcome is DriftOutcome.RETRAIN]


@settings(max_examples=8, deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(0, 24 * 12), st.integers(1, 72))
def test_no_disturbance_of_up_to_72_hours_retrains_however_large(size: float, start: int, length: int):
    history = hours(lambda i: size if start <= i < start + length else 0.0)
    assert retrainings(daily(history)) == []


@settings(max_examples=8, deadline=None)
@given(st.floats(2.0, 50.0), st.integers(24 * 3, 24 * 12), st.sampled_from([-1.0, 1.0]))
def test_a_shift_that_stays_retrains_within_nine_days(size: float, start: int, sign: float):
    found = retrainings(daily(hours(lambda i: sign * size if i >= start else 0.0)))
    first_day = -(-start // 24)
    assert first_day + 3 <= found[0] <= first_day + 9
    assert all(later - earlier >= RULES.cooldown_days for earlier, later in itertools.pairwise(found))


def test_a_true_level_shift_retrains_exactly_once():
    """The new model's hours are its own: from its activation on the old one's do not count."""
    history = hours(lambda i: 2.5 if i >= 24 * 10 else 0.0, days=45)
    last, starts = None, []
    activated = None
    for day in range(1, 46):
        at = START + day * DAY_MS
        seen = history if activated is None else [Hour(at=h.at, scores=0.0) for h in history if h.at >= activated]
        seen = [h for h in seen if at - RULES.window_days * DAY_MS <= h.at < at]
        busy = last is not None and activated is None
        if evaluate(seen, at, RULES, last_retraining_at=last, is_retraining=busy).outcome is DriftOutcome.RETRAIN:
            starts.append(day)
            last = at
        if last is not None and at >= last + 2 * DAY_MS:
            activated = last + 2 * DAY_MS
    assert starts == [17]


def test_it_takes_three_breaches_in_a_row():
    found = daily(hours(lambda i: 3.0 if i >= 24 * 10 else 0.0), days=20)
    first = next(i for i, e in enumerate(found) if e.breaches)
    assert [e.outcome for e in found[first : first + 3]] == [
        DriftOutcome.BREACH,
        DriftOutcome.BREACH,
        DriftOutcome.RETRAIN,
    ]
    assert [e.breaches for e in found[first : first + 3]] == [1, 2, 3]


def test_declared_maintenance_hides_its_hours_and_blocks_while_it_is_in_the_window():
    start, end = START + 10 * DAY_MS, START + 13 * DAY_MS
    window = Window(start=start, end=end)
    calm = hours(lambda i: 40.0 if 24 * 10 <= i < 24 * 13 else 0.0)
    assert {e.outcome for e in daily(calm, maintenance=[window])} == {DriftOutcome.STABLE}
    shifted = daily(hours(lambda i: 3.0 if i >= 24 * 5 else 0.0), maintenance=[window])
    outcomes = [e.outcome for e in shifted]
    assert DriftOutcome.BLOCKED_BY_MAINTENANCE in outcomes
    assert outcomes.index(DriftOutcome.RETRAIN) == 19, "the first evaluation whose seven days are free of the window"


def test_it_is_blocked_while_a_retraining_runs_and_cools_down_after():
    history = hours(lambda i: 3.0, days=20)
    at = START + 20 * DAY_MS
    assert evaluate(history, at, RULES).outcome is DriftOutcome.RETRAIN
    assert evaluate(history, at, RULES, is_retraining=True).outcome is DriftOutcome.RETRAINING_RUNS
    assert evaluate(history, at, RULES, last_retraining_at=at - 6 * DAY_MS).outcome is DriftOutcome.COOLING_DOWN
    assert evaluate(history, at, RULES, last_retraining_at=at - 7 * DAY_MS).outcome is DriftOutcome.RETRAIN


def test_a_level_that_moved_counts_though_the_scores_do_not():
    history = [Hour(at=START + i * HOUR_MS, scores=0.1, levels=2.5) for i in range(24 * 20)]
    evaluation = evaluate(history, START + 20 * DAY_MS, RULES)
    assert evaluation.outcome is DriftOutcome.RETRAIN
    assert evaluation.measure == "levels"
    assert evaluation.shift == pytest.approx(2.5)


def test_the_larger_measure_is_todays_and_eight_days_are_evaluated():
    """Levels have moved since yesterday only: the day before, the scores were further away."""
    history = [Hour(at=START + i * HOUR_MS, scores=0.3, levels=3.0 if i >= 24 * 19 else 0.0) for i in range(24 * 20)]
    evaluation = evaluate(history, START + 20 * DAY_MS, RULES)
    assert (evaluation.measure, evaluation.shift) == ("levels", pytest.approx(24 * 3.0 / 168))
    assert {name: len(shifts) for name, shifts in evaluation.daily.items()} == {"scores": 8, "levels": 8}
    assert Hour(at=START, scores=9.0).levels == 0.0


def test_an_evaluation_repeated_is_the_same():
    history = hours(lambda i: math.sin(i) * 4, days=30)
    at = START + 25 * DAY_MS
    assert evaluate(history, at, RULES) == evaluate(list(reversed(history)), at, RULES)


def test_a_shift_of_exactly_the_threshold_is_no_breach():
    at = START + 20 * DAY_MS
    assert evaluate(hours(lambda i: 1.5), at, RULES).outcome is DriftOutcome.STABLE
    assert evaluate(hours(lambda i: -1.501), at, RULES).outcome is DriftOutcome.RETRAIN


@pytest.mark.parametrize(("hour", "counts"), [(-169, 0), (-168, 1), (-1, 1), (0, 0)])
def test_a_rolling_shift_is_of_the_168_hours_before_and_an_hour_weighs_three_at_most(hour: int, counts: int):
    one = [Hour(at=START + hour * HOUR_MS, scores=99.0)]
    assert rolling_shift(one, "scores", START, RULES) == pytest.approx(counts * 3.0 / 168)


def test_maintenance_touches_the_hours_that_it_shares_time_with():
    window = Window(start=START, end=START + HOUR_MS)
    shared = [window.overlaps(START + t, START + t + HOUR_MS) for t in (-HOUR_MS, 1 - HOUR_MS, HOUR_MS - 1, HOUR_MS)]
    assert shared == [False, True, True, False]


def test_hours_nobody_saw_are_no_drift():
    half = [h for h in hours(lambda i: 2.0) if h.at // HOUR_MS % 2]
    assert retrainings(daily(half)) == []


def test_stability_index_by_hand():
    assert stability_index([50, 50], [50, 50]) == 0.0
    by_hand = (0.75 - 0.5) * math.log(0.75 / 0.5) + (0.25 - 0.5) * math.log(0.25 / 0.5)
    assert stability_index([1, 1], [3, 1]) == stability_index([0.5, 0.5], [0.75, 0.25]) == pytest.approx(by_hand)
    assert math.isnan(stability_index([0, 0], [1, 1]))
    assert math.isnan(stability_index([1, 1], [0, 0]))
    empty = (0.5 - 1.0) * math.log(0.5) + (0.5 - 1e-4) * math.log(0.5 / 1e-4)  # an empty bin holds a ten-thousandth
    assert stability_index([1, 0], [1, 1]) == pytest.approx(empty)


def test_features_are_counted_in_twelve_bins_and_an_edge_belongs_to_the_bin_below_it():
    """A feature is signed: what is far below has bins of its own."""
    edges = [-6.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0]
    assert count_features(np.repeat([[edge] for edge in edges], 8, axis=1))[0].tolist() == [1.0] * 11 + [0.0]
    above = count_features(np.repeat([[edge + 0.01] for edge in edges], 8, axis=1))
    assert above[7].tolist() == [0.0] + [1.0] * 11


def test_the_shares_of_a_reference_come_to_one_however_few_its_rows():
    assert [sum(shares) for shares in reference(np.array([1.0]), np.ones((1, 8))).features] == [1.0] * 8


@pytest.mark.parametrize("way", [2.0, -2.0])
def test_features_that_moved_either_way_show_and_the_others_do_not(way):
    rng = np.random.default_rng(1)
    names = tuple("abcdefgh")
    known = reference(rng.normal(1.0, 0.2, 5000), rng.normal(0.0, 1.0, (5000, 8)))
    moved = rng.normal(0.0, 1.0, (5000, 8))
    moved[:, 4] += way
    drift = feature_drift(known, count_features(moved), names)
    assert tuple(drift) == names
    assert drift.pop("e") > 0.25
    assert max(drift.values()) < 0.05
    assert known.score_mean == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("reference_of", "now"), [(12, 8), (8, 12), (0, 8)])
def test_features_of_another_kind_are_not_compared(reference_of, now):
    """A model keeps its training's reference, and hours counted by code that made other rows are still stored."""
    rows = np.random.default_rng(1).normal(size=(100, 12))
    known = reference(rows[:, 0], rows[:, :reference_of])
    assert feature_drift(known, count_features(rows[:, :now]), tuple("abcdefgh")) == {}


def test_a_reference_in_other_bins_is_not_compared():
    rows = np.random.default_rng(1).normal(size=(100, 8))
    of_ten_bins = Reference(score_mean=0.0, score_sd=1.0, features=((0.1,) * 10,) * 8)
    assert feature_drift(of_ten_bins, count_features(rows), tuple("abcdefgh")) == {}


@pytest.mark.parametrize("wrong", [{"window_days": 8}, {"threshold": 0.0}, {"clip": 1.5}, {"consecutive": 0}])
def test_rules_that_cannot_be_met_are_refused(wrong: dict):
    with pytest.raises(SettingsError):
        DriftRules(**wrong)


def test_a_window_that_just_holds_three_evaluations_over_seven_days_is_taken():
    assert DriftRules(window_days=9).window_days == 9
