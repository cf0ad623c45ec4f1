"""From a raw score to a severity: what counts is the rise above the server's own past."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from tests.unit.core.fleets import START_MS, STEP_MS, ready_state
from treeline.core.channels import registry
from treeline.core.channels.score import ONSET_WINDOW_S, SLOTS, ScoreChannel
from treeline.core.detection.calibration import Calibration, calibrate
from treeline.core.errors import SettingsError
from treeline.core.severity import Thresholds

SLOT_MS = int(ONSET_WINDOW_S * 1000 / SLOTS)


CHANNELS = [channel.name for channel in registry.CHANNELS]
SCORE_ONLY_AT_7 = Calibration(thresholds={"score": Thresholds(p2=7.0, p1=8.0), "day": Thresholds(p2=8.0, p1=10.0)})


def score_one(state, score, *, at=START_MS, calibration=None, learn=True, row=0, **measures):
    """`measures` by channel name; what is not named is 0."""
    return calibrate(
        state,
        np.array([row]),
        np.array([at]),
        np.array([score]),
        np.array([[measures.get(name, 0.0) for name in CHANNELS]], dtype=np.float32),
        calibration or SCORE_ONLY_AT_7,
        elapsed_s=np.array([60.0]),
        learn=learn,
    )


def settled(level=1.0, sd=0.1):
    """One server whose last six hours all scored `level`."""
    state = ready_state(1)
    state.score_slots[0] = level
    state.residual_sd[0] = sd
    state.score_mean[0], state.score_var[0] = level, sd**2
    return state


def test_the_rise_is_measured_from_the_median_in_deviations_of_training():
    result = score_one(settled(), 1.7)
    assert result.rise.item() == pytest.approx(7.0, rel=1e-5)
    assert result.severity.item() == pytest.approx(1.5, rel=1e-4)
    assert result.threshold.item() == pytest.approx(1.7, rel=1e-5)


def test_a_score_at_its_usual_level_or_below_is_severity_zero():
    assert score_one(settled(), 1.0).severity.item() == 0.0
    assert score_one(settled(), 0.2).severity.item() == 0.0


@FEW
@given(st.floats(0.5, 20.0), st.floats(0.05, 2.0), st.floats(-3, 12))
def test_the_level_and_the_scale_of_the_score_do_not_matter(level, sd, rise):
    """No absolute threshold on a raw score: backends and models differ."""
    expected = score_one(settled(), 1.0 + 0.1 * rise).severity.item()
    assert score_one(settled(level, sd), level + sd * rise).severity.item() == pytest.approx(expected, abs=2e-3)


def test_the_larger_channel_wins_and_says_so():
    by_day = score_one(settled(), 1.7, day=10.0)
    assert (by_day.severity.item(), by_day.channel.item()) == (pytest.approx(3.0), 1)
    by_score = score_one(settled(), 1.9, day=8.0)
    assert (by_score.severity.item() > 3.0, by_score.channel.item()) == (True, 0)


@pytest.mark.parametrize("name", CHANNELS)
def test_each_channel_meets_the_scale_at_its_own_thresholds(name):
    calibration = Calibration()
    for threshold, severity in ((calibration[name].p2, 1.5), (calibration[name].p1, 3.0)):
        result = score_one(settled(), 1.0, calibration=calibration, **{name: threshold})
        assert result.severity.item() == pytest.approx(severity, rel=1e-5)
        assert result.channel.item() == 1 + CHANNELS.index(name)


@pytest.mark.parametrize("name", CHANNELS)
def test_a_gated_channel_says_nothing_and_leaves_the_others_their_say(name):
    state = settled()
    state.channel_gated[0, CHANNELS.index(name)] = 1
    assert score_one(state, 1.0, **{name: 100.0}).severity.item() == 0.0
    assert score_one(state, 1.7, **{name: 100.0}).severity.item() == pytest.approx(1.5, rel=1e-4)


def test_the_current_score_is_not_part_of_its_own_median():
    state = settled()
    state.score_slots[0, : SLOTS // 2 - 1] = 9.0  # one more would move the median
    assert score_one(state, 9.0).rise.item() == pytest.approx(80.0, rel=1e-4)


def test_one_score_a_slot_enters_the_window_and_the_oldest_leaves():
    state = settled()
    first = START_MS - START_MS % SLOT_MS
    score_one(state, 5.0, at=first)
    score_one(state, 6.0, at=first + SLOT_MS - 1)
    slots = state.score_slots[0]
    assert sorted(slots.tolist())[-2:] == [1.0, 5.0], "the second of the slot is thinned out"
    score_one(state, 7.0, at=first + SLOTS * SLOT_MS)
    assert sorted(state.score_slots[0].tolist())[-2:] == [1.0, 7.0], "six hours later its place is taken"


def test_a_server_without_a_past_starts_from_its_first_score():
    state = ready_state(1)
    assert score_one(state, 3.3).severity.item() == 0.0
    assert np.isfinite(state.score_slots).sum() == 1, "one score is known, the rest stay unknown"


@pytest.mark.parametrize("known", [[1.0], [1.0, 9.0], [0.0, 1.0, 9.0], [0.0, 1.0, 8.0, 9.0], [0.0, 0.5, 1.0, 8.0, 9.0]])
def test_a_partly_known_past_uses_the_median_of_what_is_known_the_lower_of_two(known):
    state = ready_state(1)
    state.score_slots[0, : len(known)] = known
    state.residual_sd[0] = 1.0
    assert score_one(state, 4.0).rise.item() == pytest.approx(3.0)


def test_no_severity_is_above_30():
    """A server that never moved has no spread to measure its first movement in."""
    assert score_one(settled(), 1.0, day=90.0).severity.item() == pytest.approx(27.0)
    assert score_one(settled(), 1e6, day=1e6).severity.item() == 30.0


def test_calibrating_without_learning_leaves_the_state_bit_for_bit():
    state = settled()
    before = state.pack()
    assert score_one(state, 2.0, learn=False).severity.item() > 1.5
    assert state.pack() == before


def test_an_outage_is_not_learned_as_normal():
    state = settled()
    for t in range(600):
        score_one(
            state,
            1000.0,
            at=START_MS + t * STEP_MS,
            calibration=replace(SCORE_ONLY_AT_7, score_channel=ScoreChannel.EMA),
        )
    assert state.score_mean[0] < 100.0


def test_the_ema_channel_measures_from_the_slow_mean():
    ema = replace(SCORE_ONLY_AT_7, score_channel=ScoreChannel.EMA)
    state = settled()
    state.score_slots[0] = 99.0
    assert score_one(state, 1.7, calibration=ema).rise.item() == pytest.approx(7.0, rel=1e-4)


def test_scores_that_never_moved_are_measured_in_a_fifth_of_the_trainings_spread_of_rises():
    """The slow mean's own spread would be 0, and any rise above it infinite."""
    ema = replace(SCORE_ONLY_AT_7, score_channel=ScoreChannel.EMA)
    state = settled(level=1.0, sd=0.5)
    state.score_var[0] = 0.0
    assert score_one(state, 1.7, calibration=ema).rise.item() == pytest.approx(0.7 / (0.2 * 0.5), rel=1e-4)


@FEW
@given(st.lists(st.floats(0.0, 50.0), min_size=1, max_size=30))
def test_no_sequence_of_scores_makes_a_severity_that_is_not_finite(scores):
    for channel in ScoreChannel:
        state = ready_state(1)
        for t, score in enumerate(scores):
            at = START_MS + t * SLOT_MS
            result = score_one(state, score, at=at, calibration=replace(SCORE_ONLY_AT_7, score_channel=channel))
            assert np.isfinite([result.severity.item(), result.rise.item(), result.threshold.item()]).all()


def test_servers_side_by_side_are_calibrated_as_they_are_alone():
    together, alone = ready_state(3), ready_state(3)
    scores = np.random.default_rng(1).uniform(1, 5, (20, 3))
    for t in range(20):
        at = np.full(3, START_MS + t * SLOT_MS)
        both = calibrate(
            together,
            np.arange(3),
            at,
            scores[t],
            np.zeros((3, 4), np.float32),
            SCORE_ONLY_AT_7,
            elapsed_s=np.full(3, 60.0),
        )
        each = [score_one(alone, scores[t, i], at=int(at[i]), row=i).severity.item() for i in (2, 0, 1)]
        assert both.severity[[2, 0, 1]].tolist() == each
    assert together.pack() == alone.pack()


def test_the_mapping_survives_its_package():
    calibration = Calibration(
        score_channel=ScoreChannel.EMA,
        thresholds={"score": Thresholds(p2=1.5, p1=2.5), "tail": Thresholds(p2=3.0, p1=4.0)},
    )
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_a_stored_mapping_of_other_channels_is_read_and_one_that_names_nothing_is_refused():
    """A package lies in S3 for months; a config file is written today."""
    body = Calibration(thresholds={"day": Thresholds(p2=20.0, p1=21.0)}).to_json()
    del body["tail"]
    read = Calibration.from_json(body | {"gone": {"p2": 1.0, "p1": 2.0}})
    assert read["day"] == Thresholds(p2=20.0, p1=21.0)
    assert read["tail"] == Calibration()["tail"]
    with pytest.raises(SettingsError, match="there is no channel dya; there are score, day"):
        Calibration(thresholds={"dya": Thresholds(p2=1.0, p1=2.0)})
