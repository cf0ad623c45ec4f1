"""Series that are odd but not incidents, servers that never moved, and a load that the whole fleet shares."""

from dataclasses import dataclass

import numpy as np
import pytest

from training.evaluate.backtest import Backtest, backtest
from training.evaluate.pages import Opening, Tier, page_count
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


def trained(values, servers):
    """A package and its forest, of the first days of values (times, servers, metrics)."""
    prepared = prepare(grid(values[:TRAIN], servers), seed=1)
    forest = RandomCutForest.fit(prepared.training_rows, num_trees=50, num_samples_per_tree=32, seed=1)
    package = calibrate_package(
        prepared, forest.score, model_version="m1", samples_per_tree=forest.num_samples_per_tree
    )
    return package, forest


def watched(model, values, servers, policy=None):
    """What a model finds in the last day of values."""
    package, forest = model
    return backtest(package, grid(values[TRAIN:], servers, first=TRAIN), forest.score, policy or PolicySettings())


def opened(done, *, priority=None):
    return [
        (server, change)
        for server, change in done.changes
        if change.event in (AlertEvent.OPENED, AlertEvent.ESCALATED)
        and (priority is None or change.priority is priority)
    ]


ODD = ("flat", "zero", "one constant", "sparse", "missing", "counter reset", "stepped")


@pytest.fixture(scope="module")
def odd():
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
        return watched(trained(values, servers), values, servers), servers


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


@dataclass(frozen=True)
class MonthEnd:
    """Everybody works up to half as much again for six hours; s03 fails three hours into them.

    Two forms of it for one fleet: the load rises and falls again over the hours, or it is there from one step to the
    next.
    """

    slow: Backtest
    sudden: Backtest
    sudden_with_level: Backtest  # `fleet_min_servers` set


SERVERS = [f"s{i:02d}" for i in range(12)]
LOAD = slice(TRAIN + TEN_O_CLOCK, TRAIN + TEN_O_CLOCK + 36)
FAULT = slice(TRAIN + TEN_O_CLOCK + 18, TRAIN + TEN_O_CLOCK + 26)


def with_load(values, shape):
    """Values where everybody's load is multiplied by `shape` (times,) and s03 fails."""
    values = values.copy()
    values[LOAD] *= np.asarray(shape)[:, None, None]
    values[FAULT, 3, :3] = 160.0
    return values


def shared_load(rng):
    """What servers behind one load balancer do together beside the day's rhythm, shape (times, 1, 1)."""
    load = np.zeros(TRAIN + TEST)
    for step, change in enumerate(rng.normal(0, 1.5, len(load) - 1), start=1):
        load[step] = 0.9 * load[step - 1] + change
    return load[:, None, None]


SUDDEN = np.full(36, 1.5)
SLOW = 1 + 0.5 * np.sin(np.pi * np.arange(36) / 36)


@pytest.fixture(scope="module")
def month_ends():
    """Of three fleets whose servers usually share their load."""

    def month_end(seed):
        rng = np.random.default_rng(seed)
        values = daily(rng, len(SERVERS)) + shared_load(rng)
        model = trained(values, SERVERS)
        slow, sudden = with_load(values, SLOW), with_load(values, SUDDEN)
        return MonthEnd(
            watched(model, slow, SERVERS),
            watched(model, sudden, SERVERS),
            watched(model, sudden, SERVERS, PolicySettings(fleet_min_servers=10)),
        )

    return [month_end(seed) for seed in (5, 6, 7)]


def step_of(change):
    return (change.at - START_MS) // int(STEP_S * 1000)


def pages_before_the_fault(done):
    """How many pages a telephone shows of it, as pages are judged: who opens together is on one page."""
    before = [
        Opening(server_id=server, at_ms=change.at, priority=change.priority.value)
        for server, change in opened(done)
        if step_of(change) < FAULT.start
    ]
    return page_count(before, Tier.ALL, servers=len(SERVERS), step_ms=int(STEP_S * 1000))


def test_a_load_that_rises_everywhere_over_hours_pages_hardly_anybody(month_ends):
    """Peers show that the load is shared, a step later; a server that follows them less than others may still open."""
    others = [{server for server, _ in opened(done.slow)} - {"s03"} for done in month_ends]
    assert sum(map(len, others)) <= 0.25 * len(month_ends) * (len(SERVERS) - 1)


def test_a_load_that_starts_everywhere_at_once_is_one_page_at_most(month_ends):
    assert max(pages_before_the_fault(done.sudden) for done in month_ends) == 1


def test_where_the_level_of_a_group_is_on_that_page_is_the_groups_own(month_ends):
    early = [
        [server for server, change in opened(done.sudden_with_level) if step_of(change) < FAULT.start]
        for done in month_ends
    ]
    assert all(servers in ([], [FLEET]) for servers in early)
    assert [FLEET] in early


@pytest.mark.parametrize("form", ["slow", "sudden", "sudden_with_level"])
def test_a_fault_of_one_server_is_found_on_the_same_day(month_ends, form):
    for done in month_ends:
        steps = [
            step_of(change) for server, change in opened(getattr(done, form), priority=Priority.P1) if server == "s03"
        ]
        assert any(FAULT.start <= step <= FAULT.stop for step in steps)


def test_servers_that_never_moved_together_are_on_one_page_when_they_do():
    """Nothing says that a load is shared where it never was: each opens, and a fault meanwhile is part of that."""
    values = daily(np.random.default_rng(5), len(SERVERS))
    done = watched(trained(values, SERVERS), with_load(values, SUDDEN), SERVERS)
    assert pages_before_the_fault(done) == 1
    assert {server for server, _ in opened(done)} == set(SERVERS)
