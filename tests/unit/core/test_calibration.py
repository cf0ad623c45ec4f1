"""From a raw score to a severity: the score as a distance, each channel at its own thresholds, and what is not new."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from tests.unit.core.fleets import START_MS, STEP_MS, ready_state
from treeline.core.channels import registry
from treeline.core.channels.score import distance
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.detection.calibration import Calibration, calibrate
from treeline.core.errors import SettingsError
from treeline.core.severity import Thresholds

CHANNELS = [channel.name for channel in registry.CHANNELS]
LIMIT = 9.0
# The score's in distances: 4.5 of at most 9 is a distance of 1. No decade: nothing is asked of its novelty.
SCORE_FROM_1 = Calibration(
    score_limit=LIMIT, thresholds={"score": Thresholds(p2=1.0, p1=2.0), "day": Thresholds(p2=8.0, p1=10.0)}
)
EMA = SCORE_FROM_1.under(ScoreSettings(rule=ScoreRule.EMA, sd_factor=7.0, p1_sd_factor=8.0))


def score_at(measure):
    """The score whose distance is so much."""
    return LIMIT * measure / (1.0 + measure)


def score_one(state, score, *, at=START_MS, calibration=None, learn=True, row=0, **measures):
    """`measures` by channel name; what is not named is 0."""
    return calibrate(
        state,
        np.array([row]),
        np.array([at]),
        np.array([score]),
        np.array([[measures.get(name, 0.0) for name in CHANNELS]], dtype=np.float32),
        calibration or SCORE_FROM_1,
        elapsed_s=np.array([60.0]),
        learn=learn,
    )


def settled(level=1.0, sd=0.1):
    """One server whose scores were `level` for long."""
    state = ready_state(1)
    state.score_mean[0], state.score_var[0] = level, sd**2
    return state


def test_a_score_is_measured_as_its_distance_by_hand():
    """Of at most 9: 4.5 is as far out as the forest is wide, 6 twice as far, 8 eight times."""
    assert distance(np.array([0.0, 3.0, 4.5, 6.0, 8.0]), 9.0).tolist() == pytest.approx([0.0, 0.5, 1.0, 2.0, 8.0])


def test_a_score_at_or_beyond_its_limit_is_finitely_far():
    """The built-in algorithm's scores are not ours to bound."""
    assert distance(np.array([9.0, 9.5]), 9.0).tolist() == pytest.approx([9.0e4, 9.5e4])


@FEW
@given(st.floats(0, 8.9), st.floats(0, 8.9), st.floats(9.0, 11.0))
def test_a_larger_score_is_never_nearer(one, other, limit):
    low, high = sorted((one, other))
    near, far = distance(np.array([low, high]), limit)
    assert 0.0 <= near <= far


def test_the_forests_score_meets_the_scale_at_its_thresholds():
    result = score_one(settled(), 4.5)
    assert result.rise.item() == pytest.approx(1.0)
    assert result.severity.item() == pytest.approx(1.5, rel=1e-4)
    assert result.threshold.item() == pytest.approx(4.5), "the raw score that means P2"
    assert score_one(settled(), 6.0).severity.item() == pytest.approx(3.0, rel=1e-4)


def test_a_score_of_nothing_is_severity_zero():
    assert score_one(settled(), 0.0).severity.item() == 0.0


def test_the_larger_channel_wins_and_says_so():
    by_day = score_one(settled(), 4.5, day=10.0)
    assert (by_day.severity.item(), by_day.channel.item()) == (pytest.approx(3.0), 1)
    by_score = score_one(settled(), 7.0, day=8.0)
    assert (by_score.severity.item() > 3.0, by_score.channel.item()) == (True, 0)


@pytest.mark.parametrize("name", CHANNELS)
def test_each_channel_meets_the_scale_at_its_own_thresholds(name):
    calibration = Calibration()
    for threshold, severity in ((calibration[name].p2, 1.5), (calibration[name].p1, 3.0)):
        result = score_one(settled(), 0.0, calibration=calibration, **{name: threshold})
        assert result.severity.item() == pytest.approx(severity, rel=1e-5)
        assert result.channel.item() == 1 + CHANNELS.index(name)


@pytest.mark.parametrize("name", CHANNELS)
def test_a_gated_channel_says_nothing_and_leaves_the_others_their_say(name):
    state = settled()
    state.channel_gated[0, CHANNELS.index(name)] = 1
    assert score_one(state, 0.0, **{name: 100.0}).severity.item() == 0.0
    assert score_one(state, 4.5, **{name: 100.0}).severity.item() == pytest.approx(1.5, rel=1e-4)


def test_no_severity_is_above_30():
    """A server that never moved has no spread to measure its first movement in."""
    assert score_one(settled(), 0.0, day=90.0).severity.item() == pytest.approx(27.0)
    assert score_one(settled(), 1e6, day=1e6).severity.item() == 30.0


def test_calibrating_without_learning_leaves_the_state_bit_for_bit():
    state = settled()
    before = state.pack()
    assert score_one(state, 5.0, learn=False).severity.item() > 1.5
    assert state.pack() == before


def test_an_outage_is_not_learned_as_normal():
    state = settled()
    for t in range(600):
        score_one(state, 1000.0, at=START_MS + t * STEP_MS, calibration=EMA)
    assert state.score_mean[0] < 100.0


def test_the_ema_channel_measures_from_the_slow_mean_in_its_own_spread():
    result = score_one(settled(), 1.7, calibration=EMA)
    assert result.rise.item() == pytest.approx(7.0, rel=1e-4)
    assert result.threshold.item() == pytest.approx(1.7, rel=1e-5)


@FEW
@given(st.floats(0.5, 20.0), st.floats(0.05, 2.0), st.floats(-3, 12))
def test_the_level_and_the_scale_of_the_score_do_not_matter_to_the_ema_channel(level, sd, rise):
    """A forest of another kind has scores of another size."""
    expected = score_one(settled(), 1.0 + 0.1 * rise, calibration=EMA).severity.item()
    assert score_one(settled(level, sd), level + sd * rise, calibration=EMA).severity.item() == pytest.approx(
        expected, abs=2e-3
    )


def test_scores_that_never_moved_are_measured_in_what_the_seeds_of_a_forest_alone_move_one_by():
    """The slow mean's own spread would be 0, and any rise above it infinite."""
    assert score_one(settled(sd=0.0), 1.7, calibration=EMA).rise.item() == pytest.approx(0.7 / 0.02, rel=1e-4)


@FEW
@given(st.lists(st.floats(0.0, 50.0), min_size=1, max_size=30))
def test_no_sequence_of_scores_makes_a_severity_that_is_not_finite(scores):
    for calibration in (SCORE_FROM_1, EMA):
        state = ready_state(1)
        for t, score in enumerate(scores):
            result = score_one(state, score, at=START_MS + t * 5 * STEP_MS, calibration=calibration)
            assert np.isfinite([result.severity.item(), result.rise.item(), result.threshold.item()]).all()


def test_servers_side_by_side_are_calibrated_as_they_are_alone():
    together, alone = ready_state(3), ready_state(3)
    scores = np.random.default_rng(1).uniform(1, 5, (20, 3))
    for t in range(20):
        at = np.full(3, START_MS + t * 5 * STEP_MS)
        both = calibrate(
            together,
            np.arange(3),
            at,
            scores[t],
            np.zeros((3, len(CHANNELS)), np.float32),
            NOVEL,
            elapsed_s=np.full(3, 60.0),
        )
        each = [
            score_one(alone, scores[t, i], at=int(at[i]), row=i, calibration=NOVEL).severity.item() for i in (2, 0, 1)
        ]
        assert both.severity[[2, 0, 1]].tolist() == each
    assert together.pack() == alone.pack()


# Novelty: a decade of rarity is .5 of the score's measure, so the cap is the tier and 1.
NOVEL = replace(SCORE_FROM_1, thresholds={"score": Thresholds(p2=1.0, p1=2.0, decade=0.5)})
HOUR_MS = 60 * STEP_MS


def reached_earlier(measure, *, hours=3):
    """A server whose score was so far out, hours ago; and what it is calibrated to now, by the measure now."""
    state = settled()
    score_one(state, score_at(measure), calibration=NOVEL)

    def severity(now):
        return score_one(state, score_at(now), at=START_MS + hours * HOUR_MS, calibration=NOVEL, learn=False)

    score_one(state, 0.0, at=START_MS + hours * HOUR_MS, calibration=NOVEL)
    return severity


def test_what_a_server_reached_before_opens_nothing_again_and_what_is_beyond_does():
    now = reached_earlier(1.5)
    assert now(1.4).severity.item() < 1.5
    assert now(1.6).severity.item() > 1.5


def test_what_novelty_alone_holds_back_can_be_told():
    held = reached_earlier(1.5)(1.4)
    assert held.severity.item() < 1.5 < held.without_novelty.item()
    free = reached_earlier(1.5)(1.6)
    assert free.severity.item() == free.without_novelty.item()


def test_at_the_other_tier_a_known_measure_is_held_to_the_tier_below():
    """P1 begins at 2; the peak of 2.5 keeps what lies below it from P1, and what P2 asks for is a peak too."""
    now = reached_earlier(2.5)
    assert now(2.3).severity.item() <= 3.0
    assert now(2.6).severity.item() > 3.0


def test_no_peak_asks_for_more_than_the_tier_and_two_decades():
    """A fault that returns pages again, however large it was: P2 from 2 on, P1 from 3."""
    now = reached_earlier(50.0)
    assert now(1.9).severity.item() < 1.5
    assert 1.5 <= now(2.1).severity.item() <= 3.0
    assert now(3.1).severity.item() > 3.0


def test_a_peak_of_the_hour_that_lasts_or_the_one_before_holds_nothing_back():
    """Else no fault would last: its own first observation is its peak."""
    assert reached_earlier(1.8, hours=0)(1.4).severity.item() >= 1.5
    assert reached_earlier(1.8, hours=1)(1.4).severity.item() >= 1.5
    assert reached_earlier(1.8, hours=2)(1.4).severity.item() < 1.5


def test_channels_that_are_no_model_evidence_are_not_asked_for_anything_new():
    calibration = replace(NOVEL, thresholds={"day": Thresholds(p2=8.0, p1=10.0, decade=1.0)})
    state = settled()
    for hour in range(5):
        now = score_one(state, 0.0, at=START_MS + hour * HOUR_MS, calibration=calibration, day=9.0)
        assert now.severity.item() > 1.5


def test_the_mapping_survives_its_package():
    calibration = Calibration(
        score_rule=ScoreSettings(rule=ScoreRule.EMA, half_life_s=3600.0, fleet_weight=0.5),
        score_limit=8.0,
        score_mean=2.5,
        score_sd=0.25,
        thresholds={"score": Thresholds(p2=1.5, p1=2.5, decade=0.3), "tail": Thresholds(p2=3.0, p1=4.0)},
    )
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_a_stored_mapping_of_other_channels_is_read_and_one_that_names_nothing_is_refused():
    """A package lies in S3 for months; a config file is written today."""
    body = Calibration(thresholds={"day": Thresholds(p2=20.0, p1=21.0)}).to_json()
    del body["tail"]
    read = Calibration.from_json(body | {"gone": {"p2": 1.0, "p1": 2.0}})
    assert read["day"] == Thresholds(p2=20.0, p1=21.0)
    assert read["tail"] == Calibration()["tail"]
    with pytest.raises(SettingsError, match="there is no channel dya; there are score, day"):
        Calibration(thresholds={"dya": Thresholds(p2=1.0, p1=2.0)})
