"""A server's memory under a new model, by hand: 10 +- 2 was its baseline, 14 +- 4 is the new one."""

import numpy as np
import pytest

from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.model.handover import hand_over
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState, Phase

NOW = 1_700_006_400_000


def state(**values: object) -> FleetState:
    """Server "a", ready, of two metrics."""
    made = FleetState(2, servers=["a"])
    for name, value in {"phase": Phase.READY, "last_at": NOW, **values}.items():
        made.arrays()[name][0] = value
    return made


def package(seeds: FleetState, **typical: float) -> ModelPackage:
    return ModelPackage(
        model_version="m2", metrics=("cpu", "disk"), step_s=60.0, calibration=Calibration(), seeds=seeds,
        typical=typical, fingerprint="f",
    )  # fmt: skip


OLD = {"base_mean": 10.0, "base_spread": 2.0, "score_mean": 5.0, "score_var": 4.0, "residual_sd": 0.3}
NEW = {"base_mean": 14.0, "base_spread": 4.0, "score_mean": 1.0, "score_var": 0.25, "residual_sd": 0.7}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("recent", 3.0, 0.5),  # 16 is half a spread above 14
        ("recent", -9.5, -5.75),
        ("day_mean", 3.0, 0.5),
        ("day_var", 8.0, 2.0),  # a variance by the square
        ("change_var", 8.0, 2.0),
        ("view_var", 8.0, 2.0),
        ("view_mean", 3.0, [[0.5, 0.5], [0.5, 0.5], [1.5, 1.5]]),  # a difference has no level
        ("score_slots", 9.0, 2.0),  # two standard deviations above the mean, as before
        ("score_mean", 5.0, 1.0),
        ("score_var", 4.0, 0.25),
        ("residual_sd", 0.3, 0.7),
        ("observations", 7, 7),
        ("incident", 2, 2),
        ("sequence", 3, 3),
    ],
)
def test_a_window_is_told_in_the_new_models_units(name: str, before: float, after: object):
    new = hand_over(package(state(**NEW)), state(**OLD | {name: before}))
    np.testing.assert_allclose(new.arrays()[name][0], np.broadcast_to(after, new.arrays()[name][0].shape), rtol=1e-6)


def test_what_would_leave_the_clip_is_clipped():
    new = hand_over(package(state(**NEW | {"base_spread": 0.5})), state(**OLD | {"recent": 9.0}))
    assert (new.recent == 10.0).all()
    assert new.version == 0, "nobody has committed it yet"


def test_what_the_model_measured_is_the_new_ones():
    measured = dict.fromkeys(("view_floor", "tail_start", "tail_scale", "channel_floor", "channel_gated"), 0.5)
    measured["channel_gated"] = 1
    new = hand_over(package(state(**NEW | measured)), state(**OLD))
    for name, value in (NEW | measured).items():
        np.testing.assert_allclose(new.arrays()[name][0], value)


def test_a_channel_that_is_free_of_the_model_keeps_its_own_averages():
    kept = np.array([channel.is_free_of_model for channel in registry.CHANNELS])
    old, seed = {"channel_mean": 1.0, "channel_var": 2.0}, {"channel_mean": 3.0, "channel_var": 4.0}
    new = hand_over(package(state(**NEW | seed)), state(**OLD | old))
    assert kept.any()
    assert not kept.all()
    np.testing.assert_array_equal(new.channel_mean[0], np.where(kept, 1.0, 3.0))
    np.testing.assert_array_equal(new.channel_var[0], np.where(kept, 2.0, 4.0))


@pytest.mark.parametrize(
    ("old_spread", "new_spread", "expected"),
    [([2.0, UNKNOWN], [4.0, 4.0], [0.5, 7.0]), ([2.0, 2.0], [4.0, UNKNOWN], [0.5, 3.0])],
)
def test_a_metric_that_one_model_has_no_baseline_for_comes_from_the_one_that_has(old_spread, new_spread, expected):
    seeds = state(**NEW | {"base_spread": new_spread, "day_mean": 7.0})
    new = hand_over(package(seeds), state(**OLD | {"base_spread": old_spread, "day_mean": 3.0}))
    np.testing.assert_allclose(new.day_mean[0], expected)
    assert (new.base_spread[0] > 0).all()


def test_a_server_that_was_warming_up_and_that_the_model_has_met_is_ready():
    new = hand_over(package(state(**NEW | {"day_mean": 7.0})), state(**OLD | {"phase": Phase.WARMING_UP}))
    assert new.phase.tolist() == [Phase.READY]
    assert (new.day_mean == 7.0).all()


@pytest.mark.parametrize(("behind", "mine"), [(3_600_000, True), (3_600_001, False)])
def test_the_candidates_own_windows_are_used_where_they_are_an_hour_old_at_most(behind: int, mine: bool):
    own = state(**NEW | {"day_mean": 7.0, "last_at": NOW - behind})
    new = hand_over(package(state(**NEW)), state(**OLD | {"day_mean": 3.0}), own=own)
    assert (new.day_mean == (7.0 if mine else 0.5)).all()
    assert new.last_at.tolist() == [NOW]


def test_a_candidate_that_was_still_warming_up_has_no_windows_of_its_own():
    own = state(**NEW | {"day_mean": 7.0, "phase": Phase.WARMING_UP})
    new = hand_over(package(state(**NEW)), state(**OLD | {"day_mean": 3.0}), own=own)
    assert (new.day_mean == 0.5).all()


def test_other_metrics_begin_anew():
    """What was told stays; a server the new model never met warms up."""
    old = FleetState(3, servers=["a", "b"])
    old.phase[:], old.incident[:], old.observations[:] = Phase.READY, 2, 99
    new = hand_over(package(state(**NEW | {"day_mean": 7.0}), residual_sd=0.9), old)
    assert new.phase.tolist() == [Phase.READY, Phase.WARMING_UP]
    assert new.observations.tolist() == [99, 0]
    assert new.incident.tolist() == [2, 2]
    assert (new.day_mean[0] == 7.0).all()
    assert new.residual_sd.tolist() == pytest.approx([0.7, 0.9])
