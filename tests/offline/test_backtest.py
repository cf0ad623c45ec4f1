"""The offline run: groups share nothing, however many go through one state at once."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.detection_fakes import SAMPLES_PER_TREE, distance_score, fleet, trained
from training.evaluate.backtest import backtest
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from training.processes import run_jobs
from treeline.core.detection.policy import FLEET, PolicySettings
from treeline.core.errors import UsageError

TRAIN, TEST = 2000, 240
SETTINGS = PolicySettings(fleet_min_servers=3)


def columns_of(grid: Grid, columns) -> Grid:
    return replace(grid, servers=tuple(np.array(grid.servers)[columns].tolist()), values=grid.values[:, columns])


@pytest.fixture(scope="module")
def fleet_run():
    """Two groups of six, mixed by column; one of them goes wrong as a whole, and a server of the other alone."""
    grid = fleet(12, TRAIN + TEST)
    grid.values[TRAIN + 60 : TRAIN + 90, ::2] += 40.0
    grid.values[TRAIN + 150 : TRAIN + 170, 3, 1:] += 60.0
    grid.values[TRAIN + 20 : TRAIN + 40, 5] = np.nan
    past = replace(grid, times_ms=grid.times_ms[:TRAIN], values=grid.values[:TRAIN])
    present = replace(grid, times_ms=grid.times_ms[TRAIN:], values=grid.values[TRAIN:])
    groups = {server: column % 2 for column, server in enumerate(grid.servers)}
    package = calibrate_package(
        prepare(past, seed=1, groups=groups), distance_score, model_version="m1", samples_per_tree=SAMPLES_PER_TREE
    )
    return package, present, groups, backtest(package, present, distance_score, SETTINGS, groups=groups)


def test_groups_in_one_state_decide_as_each_would_alone(fleet_run):
    package, present, groups, together = fleet_run
    changes = []
    for group in (0, 1):
        columns = [c for c, server in enumerate(present.servers) if groups[server] == group]
        alone = backtest(package, columns_of(present, columns), distance_score, SETTINGS)
        changes += [(server, replace(change, row=0)) for server, change in alone.changes]
        for name in ("score", "severity", "threshold"):
            np.testing.assert_array_equal(getattr(together.trace, name)[:, columns], getattr(alone.trace, name))
    changes.sort(key=lambda entry: (entry[1].at, entry[0], entry[1].sequence))
    assert [(server, replace(change, row=0)) for server, change in together.changes] == changes
    assert FLEET in {server for server, _ in changes}
    assert "web-03" in {server for server, _ in changes}


def test_a_peer_of_another_group_is_nobody_as_in_the_cloud():
    """The model was trained in other groups than it decides in: each group still decides as it would alone."""
    grid = fleet(14, TRAIN + TEST)
    load = np.random.default_rng(3).normal(0, 6, ((TRAIN + TEST) // 20, 1, 4)).repeat(20, axis=0)
    grid.values[:] += load
    past = replace(grid, times_ms=grid.times_ms[:TRAIN], values=grid.values[:TRAIN])
    present = replace(grid, times_ms=grid.times_ms[TRAIN:], values=grid.values[TRAIN:])
    package = trained(past)
    groups = {server: column % 2 for column, server in enumerate(grid.servers)}
    together = backtest(package, present, distance_score, SETTINGS, groups=groups)
    one = backtest(package, present, distance_score, SETTINGS)
    assert not np.array_equal(one.trace.score, together.trace.score), "peers matter here"
    for group in (0, 1):
        alone = backtest(package, columns_of(present, slice(group, None, 2)), distance_score, SETTINGS)
        np.testing.assert_array_equal(together.trace.score[:, group::2], alone.trace.score)


def test_without_groups_all_servers_share_one_cycle(fleet_run):
    package, present, groups, together = fleet_run
    one = backtest(package, present, distance_score, SETTINGS)
    assert one.changes != together.changes
    with_names = backtest(package, present, distance_score, SETTINGS, groups=dict.fromkeys(groups, 5))
    assert with_names.changes == one.changes


def test_processes_change_no_result(fleet_run):
    package, present, groups, together = fleet_run
    shared = backtest(package, present, distance_score, SETTINGS, groups=groups, workers=2, with_bands=True)
    assert shared.changes == together.changes
    np.testing.assert_array_equal(shared.trace.severity, together.trace.severity)
    assert shared.trace.bands is not None


def test_fitting_in_processes_gives_the_same_package():
    past = fleet(5, 600)
    alone, shared = (
        calibrate_package(
            prepare(past, seed=1, workers=w),
            distance_score,
            model_version="m",
            samples_per_tree=SAMPLES_PER_TREE,
            workers=w,
        )
        for w in (1, 2)
    )
    assert shared.to_bytes() == alone.to_bytes()


def test_what_a_process_raises_is_raised_here():
    def fail(progress):
        raise UsageError("too short")

    with pytest.raises(UsageError, match="too short"):
        run_jobs([fail, lambda progress: progress("x", 1.0)], lambda *_: None)
