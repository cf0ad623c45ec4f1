"""What the forest's score is held against where a stage does not go by rarity: recent scores, or those of training."""

import numpy as np
import pytest

from tests.unit.core.fleets import CALIBRATION, START_MS, STEP_MS, ready_state
from treeline.core.channels import registry
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.detection import policy
from treeline.core.detection.calibration import Calibrated, Calibration, calibrate
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import SettingsError

HOUR_S = 3600.0


def ema(**changes):
    """Held against the server's own scores: P2 from 3 standard deviations on, P1 from 5."""
    settings = {"half_life_s": HOUR_S, "sd_factor": 3.0, "p1_sd_factor": 5.0, "fleet_weight": 0.0}
    return Calibration().under(ScoreSettings(rule=ScoreRule.EMA, **settings | changes))


def three_sigma(mean=2.0, sd=0.5):
    """Held against the scores of training."""
    return Calibration(score_mean=mean, score_sd=sd).under(ScoreSettings(rule=ScoreRule.THREE_SIGMA))


def decide(state, scores, calibration, *, step=0, elapsed_s=HOUR_S, shared_excess=0.0) -> Calibrated:
    count = len(scores)
    return calibrate(
        state,
        np.arange(count),
        np.full(count, START_MS + step * STEP_MS),
        np.array(scores),
        np.zeros((count, len(registry.CHANNELS)), np.float32),
        calibration,
        elapsed_s=np.full(count, elapsed_s),
        shared_excess=shared_excess,
    )


def fleet_of(*means, sd=0.5):
    """Servers by what their scores have been so far."""
    state = ready_state(len(means))
    state.score_mean[:], state.score_var[:] = means, sd**2
    return state


def test_a_servers_own_scores_make_its_thresholds_by_hand():
    """Mean 2 and deviation .5: 3.5 means P2 and 4.5 means P1; at 4 and .5 the same holds from 5.5 on."""
    told = decide(fleet_of(2.0, 2.0, 4.0), [3.5, 4.5, 3.5], ema())
    assert told.severity.tolist() == pytest.approx([1.5, 3.0, 0.0], abs=1e-5)
    assert told.threshold.tolist() == pytest.approx([3.5, 3.5, 5.5])


def test_mean_and_deviation_follow_what_was_decided_with_their_half_life_by_hand():
    """One half-life later half of the new score counts: 2 and 3 give 2.5; variance (.25 + .5 * 1) / 2 = .375."""
    state = fleet_of(2.0)
    decide(state, [3.0], ema())
    assert (state.score_mean[0], state.score_var[0]) == (pytest.approx(2.5), pytest.approx(0.375))
    decide(state, [2.5], ema(half_life_s=2 * HOUR_S))
    assert state.score_mean[0] == pytest.approx(2.5)
    assert state.score_var[0] == pytest.approx(0.375 / 2**0.5)


def test_a_score_above_its_threshold_is_not_learned_and_one_at_it_is():
    state = fleet_of(2.0, 2.0)
    decide(state, [3.5, 3.51], ema())
    assert state.score_mean.tolist() == [pytest.approx(2.75), 2.0]
    assert state.score_var[1] == np.float32(0.25)


def test_scores_stay_anomalous_as_long_as_they_are_high():
    """A fault of a week, decided each hour: nothing of it becomes usual."""
    state = fleet_of(2.0)
    told = [decide(state, [6.0], ema(), step=60 * hour).severity.item() for hour in range(7 * 24)]
    assert min(told) > 3.0


def test_a_load_that_the_fleet_shares_raises_each_servers_threshold_by_its_weight():
    state = fleet_of(2.0, 3.0)
    thresholds = [
        decide(state.copy(), [2.0, 3.0], ema(fleet_weight=weight), shared_excess=0.8).threshold.tolist()
        for weight in (0.0, 0.5, 1.0)
    ]
    assert thresholds == [pytest.approx([3.5, 4.5]), pytest.approx([3.9, 4.9]), pytest.approx([4.3, 5.3])]


BY_EMA = PolicySettings(score=ScoreSettings(rule=ScoreRule.EMA))


def run(scores_by_step, *, servers=20, weight=1.0, sd=0.2):
    """The severities of a group at one-minute steps, through the fleet cycle, shape (steps, servers)."""
    state, calibration = fleet_of(*[2.0] * servers, sd=sd), ema(fleet_weight=weight, half_life_s=86_400.0)
    told = []
    for step, scores in enumerate(scores_by_step):
        bucket = START_MS // STEP_MS + step
        policy.apply_fleet_cycle(state, bucket, bucket * STEP_MS, BY_EMA)
        calibrated = decide(
            state, scores, calibration, step=step, elapsed_s=60.0, shared_excess=state.cycle.score_excess
        )
        state.severity[:], state.severity_bucket[:] = calibrated.severity, bucket
        told.append(calibrated.severity)
    return np.array(told)


def month_end(steps=120, servers=20, rise=1.2):
    """Scores that rise on all servers within an hour, and stay; the first server's alone jumps at the end."""
    common = np.minimum(np.arange(steps) / 60.0, 1.0) * rise
    scores = 2.0 + np.repeat(common[:, None], servers, axis=1)
    scores[-1, 0] += 2.0
    return scores


def test_a_load_that_builds_up_everywhere_opens_nothing_and_a_server_beyond_it_still_stands_out():
    told = run(month_end())
    assert told[:, 1:].max() < 1.5
    assert told[-1, 0] > 3.0


def test_without_the_fleets_part_the_same_load_is_found_on_every_server():
    assert (run(month_end(), weight=0.0)[:, 1:].max(axis=0) >= 1.5).all()


def test_one_servers_rise_is_not_the_fleets():
    scores = np.full((120, 20), 2.0)
    scores[:, 0] += np.minimum(np.arange(120) / 60.0, 1.0) * 1.2
    assert run(scores)[-1, 0] >= 1.5


def test_a_group_too_small_for_a_fleet_cycle_shares_nothing():
    assert run(month_end(servers=5), servers=5)[:, 1:].max() >= 1.5


def test_what_the_fleet_shares_does_not_depend_on_the_order_within_a_step():
    """The excess is of earlier steps: a second round of the same one finds it as the first did."""
    state = fleet_of(*[2.0] * 20)
    for step in range(30):
        bucket = START_MS // STEP_MS + step
        policy.apply_fleet_cycle(state, bucket, bucket * STEP_MS, BY_EMA)
        before = state.cycle.score_excess
        decide(state, [3.0] * 20, ema(fleet_weight=1.0), step=step, elapsed_s=60.0)
        state.severity_bucket[:] = bucket
        policy.apply_fleet_cycle(state, bucket, bucket * STEP_MS, BY_EMA)
        assert state.cycle.score_excess == before
    assert state.cycle.score_excess > 0.1


def test_three_sigma_holds_every_server_against_all_scores_of_training_by_hand():
    """Mean 2 and deviation .5 of all: 3.5 is P2 and 4.25 P1, whatever a server's own scores were."""
    told = decide(fleet_of(1.0, 3.0, 9.0), [3.5, 4.25, 2.0], three_sigma())
    assert told.severity.tolist() == pytest.approx([1.5, 3.0, 0.0], abs=1e-5)
    assert told.threshold.tolist() == [3.5] * 3


def test_three_sigma_does_not_move_with_what_is_decided():
    state = fleet_of(2.0)
    thresholds = {decide(state, [5.0], three_sigma(), step=step).threshold.item() for step in range(50)}
    assert thresholds == {3.5}


def test_a_model_whose_training_scores_are_not_known_says_nothing_by_three_sigma():
    told = decide(fleet_of(2.0), [8.0], three_sigma(mean=0.0, sd=0.0))
    assert told.severity.item() == 0.0


@pytest.mark.parametrize("calibration", [ema(), three_sigma()], ids=["ema", "three_sigma"])
def test_a_factor_asks_for_nothing_new(calibration):
    """The same height hour after hour; by rarity, novelty would hold it back from the third on."""
    state = fleet_of(2.0)
    told = [decide(state, [3.6], calibration, step=60 * hour) for hour in range(6)]
    assert [each.held.item() for each in told] == [-1] * 6
    assert min(each.severity.item() for each in told) > 1.5


def test_rarity_leaves_the_models_own_thresholds():
    assert CALIBRATION.under(ScoreSettings()) is CALIBRATION


def test_another_rule_leaves_the_other_channels_thresholds():
    changed = CALIBRATION.under(ScoreSettings(rule=ScoreRule.EMA))
    assert changed["relation"] == CALIBRATION["relation"] != changed["score"]


def test_p1_lies_above_p2():
    with pytest.raises(SettingsError, match=r"p1_sd_factor: must be above sd_factor, got 3\.0 and 3\.0"):
        ScoreSettings(sd_factor=3.0, p1_sd_factor=3.0)
