"""A server's memory under a new model, by hand: 10 +- 2 was its baseline, 14 +- 4 is the new one."""

from typing import Any

import numpy as np
import pytest

from treeline.core.arrays import NEVER
from treeline.core.channels import novelty, registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.expectation.peers import NOBODY
from treeline.core.expectation.rolling_limits import PARTS
from treeline.core.model.handover import hand_over
from treeline.core.model.package import ModelPackage
from treeline.core.severity import Thresholds
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import todays_layout

NOW = 1_700_006_400_000


def state(**values: object) -> FleetState:
    """Server "a", ready, of two metrics."""
    made = FleetState(2, servers=["a"])
    for name, value in {"phase": Phase.READY, "last_at": NOW, **values}.items():
        made.arrays()[name][0] = value
    return made


def package(seeds: FleetState, calibration: Calibration | None = None, **typical: float) -> ModelPackage:
    return ModelPackage(
        model_version="m2", metrics=("cpu", "disk"), features=feature_names(("cpu", "disk")), step_s=60.0,
        calibration=calibration or Calibration(), seeds=seeds, typical=typical, fingerprint="f",
    )  # fmt: skip


def handed(package: ModelPackage, source: FleetState, **options: Any) -> FleetState:
    return hand_over(package, source, **{"calibration": Calibration(), **options})


OLD = {"base_mean": 10.0, "base_spread": 2.0, "score_mean": 5.0, "score_var": 4.0}
NEW = {"base_mean": 14.0, "base_spread": 4.0, "score_mean": 1.0, "score_var": 0.25}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("recent", 3.0, 0.5),  # 16 is half a spread above 14
        ("recent", -9.5, -5.75),
        ("day_mean", 3.0, 0.5),
        ("day_var", 8.0, 2.0),  # a variance by the square
        ("change_var", 8.0, 2.0),
        ("trend_mean", 3.0, 0.5),
        ("season_square", 8.0, 1.0),  # the distance is from the new model's own table
        ("mean10_mean", 3.0, 0.5),
        ("mean10_var", 8.0, 2.0),
        ("score_mean", 5.0, 1.0),
        ("score_var", 4.0, 0.25),
        ("observations", 7, 7),
        ("incident", 2, 2),
        ("sequence", 3, 3),
    ],
)
def test_a_window_is_told_in_the_new_models_units(name: str, before: float, after: object):
    new = handed(package(state(**NEW)), state(**OLD | {name: before}))
    np.testing.assert_allclose(new.arrays()[name][0], np.broadcast_to(after, new.arrays()[name][0].shape), rtol=1e-6)


def test_what_would_leave_the_clip_is_clipped():
    new = handed(package(state(**NEW | {"base_spread": 0.5})), state(**OLD | {"recent": 9.0}))
    assert (new.recent == 10.0).all()
    assert new.version == 0, "nobody has committed it yet"


def test_what_the_model_measured_is_the_new_ones():
    names = (
        "tail_start",
        "mean10_floor",
        "change_floor",
        "channel_floor",
        "residual_scale",
        "band_sd",
        "season_offset",
    )
    names += ("relation", "relation_mean", "relation_var", "relation_floor", "relation_recent", "relation_sd")
    measured = dict.fromkeys((*names, "season_level", "season_var", "season_days"), 0.5)
    measured |= {"channel_gated": 1, "basis": 2}
    new = handed(package(state(**NEW | measured)), state(**OLD))
    for name, value in (NEW | measured).items():
        np.testing.assert_allclose(new.arrays()[name][0], value)


def test_a_channel_that_is_free_of_the_model_keeps_its_own_averages():
    kept = np.array([channel.is_free_of_model for channel in registry.CHANNELS])
    old, seed = {"channel_mean": 1.0, "channel_var": 2.0}, {"channel_mean": 3.0, "channel_var": 4.0}
    new = handed(package(state(**NEW | seed)), state(**OLD | old))
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
    new = handed(package(seeds), state(**OLD | {"base_spread": old_spread, "day_mean": 3.0}))
    np.testing.assert_allclose(new.day_mean[0], expected)
    assert (new.base_spread[0] > 0).all()


def test_a_server_that_was_warming_up_and_that_the_model_has_met_is_ready():
    new = handed(package(state(**NEW | {"day_mean": 7.0})), state(**OLD | {"phase": Phase.WARMING_UP}))
    assert new.phase.tolist() == [Phase.READY]
    assert (new.day_mean == 7.0).all()


@pytest.mark.parametrize(("behind", "mine"), [(3_600_000, True), (3_600_001, False)])
def test_the_candidates_own_windows_are_used_where_they_are_an_hour_old_at_most(behind: int, mine: bool):
    own = state(**NEW | {"day_mean": 7.0, "last_at": NOW - behind})
    new = handed(package(state(**NEW)), state(**OLD | {"day_mean": 3.0}), own=own)
    assert (new.day_mean == (7.0 if mine else 0.5)).all()
    assert new.last_at.tolist() == [NOW]


def test_a_candidate_that_was_still_warming_up_has_no_windows_of_its_own():
    own = state(**NEW | {"day_mean": 7.0, "phase": Phase.WARMING_UP})
    new = handed(package(state(**NEW)), state(**OLD | {"day_mean": 3.0}), own=own)
    assert (new.day_mean == 0.5).all()


def test_other_metrics_begin_anew():
    """What was told stays; a server the new model never met warms up."""
    old = FleetState(3, servers=["a", "b"])
    old.phase[:], old.incident[:], old.observations[:] = Phase.READY, 2, 99
    new = handed(package(state(**NEW | {"day_mean": 7.0}), score_mean=0.9), old)
    assert new.phase.tolist() == [Phase.READY, Phase.WARMING_UP]
    assert new.observations.tolist() == [99, 0]
    assert new.incident.tolist() == [2, 2]
    assert (new.day_mean[0] == 7.0).all()
    assert new.score_mean.tolist() == pytest.approx([1.0, 0.9])


def test_the_slot_that_gathers_is_dropped_and_the_new_models_table_is_read_next():
    """What gathered is in the old model's units, against a level of the old model's table."""
    new = handed(package(state(**NEW | {"slot": 7})), state(**OLD | {"slot": 12_345, "slot_count": 3.0}))
    assert new.slot.tolist() == [NEVER]
    assert new.table == [""] * len(new.table), "no block that is stored belongs to the new model"


def scale(p2: float, decade: float | None, p1: float | None = None) -> Calibration:
    """Every channel's thresholds."""
    floors = {name: Thresholds(p2, p1 or p2 + 1.0, decade) for name in Calibration().thresholds}
    return Calibration(thresholds=floors)


@pytest.mark.parametrize("server", ["a", "stranger"])
@pytest.mark.parametrize(
    ("old", "new", "peak", "expected"),
    [
        (scale(6.0, 0.5), scale(2.0, 4.0), 7.0, 10.0),  # two decades above P2 before and after
        (scale(6.0, 0.5), scale(2.0, 4.0), 5.5, -2.0),  # one below
        (scale(6.0, None, 8.0), scale(2.0, 4.0), 8.0, 6.0),  # where no decade is known, P1 stands one above P2
        (scale(6.0, 0.5), scale(2.0, 4.0), novelty.LEAST, novelty.LEAST),
        (None, scale(2.0, 4.0), 7.0, novelty.LEAST),
    ],
)
def test_a_servers_own_peaks_are_as_rare_as_before(old, new, peak: float, expected: float, server: str):
    """Else a promotion would open what is known, or hold back what is new."""
    source = state(**OLD | {"peak": peak, "peak_hours": peak, "peak_hour": 472_224})
    source.servers[0] = server
    handed_over = handed(package(state(**NEW), new), source, calibration=old)
    assert handed_over.peak[0].tolist() == pytest.approx([expected] * handed_over.peak.shape[1])
    np.testing.assert_allclose(handed_over.peak_hours[0], expected, rtol=1e-6)
    assert handed_over.peak_hour.tolist() == [472_224]
    assert (source.peak == np.float32(peak)).all(), "the old model's state stays as it is"


def test_a_server_the_new_model_has_not_met_loses_its_peers():
    """They are rows of the old state, of which a canary takes only some."""
    old = state(**OLD)
    old.peer_rows[:], old.peer_slope[:] = 40, 1.0
    new = handed(package(FleetState(old.metrics, servers=["someone else"])), old)
    assert (new.peer_rows == NOBODY).all()
    assert (new.peer_slope == 0.0).all()


def windowed(window_s: float, parts: int = PARTS, **values: object) -> FleetState:
    """As `state`, with a rolling window, in which there are 6 values of mean 3 and variance 8."""
    made = FleetState(2, servers=["a"], layout=todays_layout(window_s, parts))
    window = {"rolling_count": 5, "rolling_mean": 3.0, "rolling_square": 8.0, "rolling_place": 4}
    window |= {"gathered_count": 1, "gathered_mean": 3.0, "gathered_square": 8.0, "rolling_part_s": 60.0}
    for name, value in {"phase": Phase.READY, "last_at": NOW, **window, **values}.items():
        made.arrays()[name][0] = value
    return made


def test_a_rolling_window_goes_on_in_the_new_models_units():
    new = handed(package(windowed(3600.0, **NEW, rolling_count=1)), windowed(3600.0, **OLD))
    for kept in ("rolling", "gathered"):
        assert (new.arrays()[f"{kept}_mean"] == 0.5).all()
        assert (new.arrays()[f"{kept}_square"] == 2.0).all()
    assert (new.rolling_count == 5).all(), "its own, not training's"
    assert (new.rolling_place[0], new.rolling_part_s[0]) == (4, 60.0)


@pytest.mark.parametrize(
    ("before_s", "after_s", "parts"), [(3600.0, 7200.0, PARTS), (0.0, 3600.0, PARTS), (3600.0, 3600.0, PARTS // 2)]
)
def test_a_rolling_window_of_another_length_or_in_other_parts_begins_empty(before_s: float, after_s: float, parts: int):
    before = windowed(before_s, **OLD) if before_s else state(**OLD)
    new = handed(package(windowed(after_s, parts, **NEW)), before)
    assert new.rolling_window_s == after_s
    assert not new.rolling_count.any()
    assert not new.gathered_count.any()
    assert not new.rolling_place.any()


def test_a_model_without_a_rolling_window_drops_it():
    new = handed(package(state(**NEW)), windowed(3600.0, **OLD))
    assert new.rolling_window_s == 0.0
    assert "rolling_mean" not in new.arrays()
    assert (new.trend_mean == -1.0).all(), "the rest is handed over"


def test_the_window_of_a_metric_that_only_one_model_knows_is_the_old_models_or_empty():
    seeds = windowed(3600.0, **NEW | {"base_spread": [4.0, UNKNOWN]})
    new = handed(package(seeds), windowed(3600.0, **OLD | {"base_spread": [UNKNOWN, 2.0]}))
    assert new.rolling_count[0, 0].tolist() == [0, 5]
    assert new.gathered_count[0].tolist() == [0, 1]
    assert (new.rolling_mean[0, 0, 1], new.rolling_square[0, 0, 1]) == (3.0, 8.0), "in the old model's spreads"


def test_a_canarys_own_window_is_used():
    own = windowed(3600.0, **NEW, rolling_mean=7.0)
    new = handed(package(windowed(3600.0, **NEW)), windowed(3600.0, **OLD), own=own)
    assert (new.rolling_mean == 7.0).all()
    assert (new.rolling_count == 5).all()


def test_a_server_that_neither_model_was_trained_on_keeps_its_window():
    new = handed(package(FleetState(2, servers=["b"], layout=todays_layout(3600.0))), windowed(3600.0, **OLD))
    assert (new.rolling_mean == 3.0).all()
    assert (new.rolling_count == 5).all()
