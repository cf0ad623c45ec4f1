"""Series that are odd but not incidents, servers that never moved, and a load that the whole fleet shares."""

import numpy as np
import pytest

from training.evaluate.backtest import backtest
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from treeline.core.alert import AlertEvent, Priority
from treeline.core.detection.policy import FLEET, PolicySettings
from treeline.core.severity import LARGEST_SEVERITY
from treeline.forest.forest import RandomCutForest

STEP_S, A_DAY = 600.0, 144
TRAIN, TEST = 4 * A_DAY, A_DAY
START_MS = 1_767_225_600_000
TEN_O_CLOCK = 60  # steps into the test day


def grid(values: np.ndarray, servers: list[str], *, first: int = 0) -> Grid:
    times = START_MS + (first + np.arange(len(values))) * int(STEP_S * 1000)
    metrics = tuple(f"m{i}" for i in range(values.shape[2]))
    return Grid(times.astype(np.int64), tuple(servers), metrics, values.astype(np.float32), STEP_S)


def daily(rng, servers, metrics=4, length=TRAIN + TEST):
    """A day's rhythm with noise, in percent."""
    phase = 2 * np.pi * np.arange(length) / A_DAY
    rhythm = 40 + 10 * np.sin(phase)[:, None, None] + np.zeros((1, servers, metrics))
    return rhythm + rng.normal(0, 2, (length, servers, metrics))


@pytest.fixture(scope="module")
def run():
    """Train on the first days, detect in the last; (backtest, package) of values (times, servers, metrics)."""

    def go(values, servers):
        prepared = prepare(grid(values[:TRAIN], servers), seed=1)
        forest = RandomCutForest.fit(prepared.training_rows, num_trees=50, num_samples_per_tree=32, seed=1)
        package = calibrate_package(
            prepared, forest.score, model_version="m1", samples_per_tree=forest.num_samples_per_tree
        )
        return backtest(package, grid(values[TRAIN:], servers, first=TRAIN), forest.score, PolicySettings())

    return go


def opened(done, *, priority=None):
    return [
        (server, change)
        for server, change in done.changes
        if change.event in (AlertEvent.OPENED, AlertEvent.ESCALATED)
        and (priority is None or change.priority is priority)
    ]


ODD = ("flat", "zero", "one constant", "sparse", "missing", "counter reset", "stepped")


@pytest.fixture(scope="module")
def odd(run):
    """One server of each odd kind, and one that was constant throughout training and starts to move."""
    rng = np.random.default_rng(4)
    servers = [*ODD, "wakes up"]
    values = daily(rng, len(servers))
    values[:, 0] = 50.0
    values[:, 1] = 0.0
    values[:, 2, 0] = 7.0
    values[rng.random(len(values)) < 0.8, 3] = np.nan
    values[:, 4][rng.random((len(values), 4)) < 0.3] = np.nan
    ramp = np.arange(len(values)) * 3.0
    values[:, 5] = (ramp % 300.0)[:, None] + rng.normal(0, 2, (len(values), 4))
    values[:, 6] += 30.0 * (np.arange(len(values)) // 12 % 2)[:, None]
    values[:, 7] = 20.0
    values[TRAIN + 70 :, 7] += rng.normal(0, 5, (TEST - 70, 4))
    with np.errstate(all="raise", under="ignore"):  # no warning storm: a warning is an error
        return run(values, servers), servers


@pytest.mark.parametrize("kind", ODD)
def test_what_always_was_odd_opens_no_incident(odd, kind):
    done, _ = odd
    assert [change for server, change in opened(done) if server == kind] == []


def test_a_server_that_never_moved_gets_a_finite_and_sane_severity_when_it_does(odd):
    done, servers = odd
    severity = done.trace.severity[:, servers.index("wakes up")]
    assert np.isfinite(severity).all()
    assert severity[:70].max() < 1.5
    assert 1.5 < severity[70:].max() <= LARGEST_SEVERITY


@pytest.fixture(scope="module")
def month_end(run):
    """Everybody works half as much again for six hours; one server fails in the middle of it."""
    rng = np.random.default_rng(5)
    servers = [f"s{i:02d}" for i in range(12)]
    values = daily(rng, len(servers))
    values[TRAIN + TEN_O_CLOCK : TRAIN + TEN_O_CLOCK + 36] *= 1.5
    values[TRAIN + TEN_O_CLOCK + 18 : TRAIN + TEN_O_CLOCK + 26, 3, :3] = 160.0
    return run(values, servers)


def test_a_month_end_pages_nobody_and_is_at_most_one_incident_of_the_fleet(month_end):
    pages = opened(month_end)
    assert len([1 for server, _ in pages if server == FLEET]) <= 1
    assert [server for server, change in pages if change.priority is Priority.P1 and server != "s03"] == []
    assert {server for server, _ in pages} <= {FLEET, "s03"}


def test_a_fault_of_one_server_is_found_on_the_same_day(month_end):
    at = [change.at for server, change in opened(month_end) if server == "s03"]
    fault = START_MS + int((TRAIN + TEN_O_CLOCK + 18) * STEP_S * 1000)
    assert any(fault <= when <= fault + int(8 * STEP_S * 1000) for when in at)
