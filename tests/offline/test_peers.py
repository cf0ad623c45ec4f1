"""Peers: each sees a plain fault, by its own past only, and is run with our calibration and persistence."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.detection_fakes import SAMPLES_PER_TREE, distance_score, fleet
from training.evaluate.backtest import backtest
from training.evaluate.experiment import Setup, groups_of, openings
from training.evaluate.peers.catalogue import DETECTORS, entry
from training.evaluate.peers.interface import NamedPeer
from training.evaluate.peers.run import FLOORS, as_rare_as_a_channel, run_peer, score_servers
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from training.prepare.thresholds import NEVER
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.severity import Thresholds

TRAIN, TEST = 600, 160
SLOW = "SARIMA"  # its library takes seconds to import: tests/deployed runs it
FAULT = slice(TRAIN + 100, TRAIN + 110)


@pytest.fixture(scope="module")
def parts() -> tuple[Grid, Grid]:
    return faulty_server()


def faulty_server() -> tuple[Grid, Grid]:
    """A server at five minutes that goes wrong; some of its values are missing."""
    grid = fleet(1, TRAIN + TEST)
    grid = replace(grid, times_ms=grid.times_ms[0] + 300_000 * np.arange(TRAIN + TEST), step_s=300.0)
    grid.values[FAULT, 0, 0] += 70.0  # against the common daily movement, and far out
    grid.values[FAULT, 0, 1] -= 70.0
    grid.values[50:60, 0, 2] = np.nan
    grid.values[TRAIN + 20 : TRAIN + 25] = np.nan
    cut = [replace(grid, times_ms=grid.times_ms[p], values=grid.values[p]) for p in (slice(TRAIN), slice(TRAIN, None))]
    return cut[0], cut[1]


@pytest.mark.parametrize("name", [peer.name for peer in DETECTORS if peer.name != SLOW])
def test_a_peer_finds_a_fault_strange_and_knows_nothing_of_the_future(parts, name):
    check_peer(name, *parts)


def check_peer(name: str, past: Grid, present: Grid) -> None:
    peer = entry(name)
    assert isinstance(peer, NamedPeer)
    if peer.needs:
        pytest.importorskip(peer.needs)
    before, after = score_servers(past, present, lambda: peer.make(past.step_s, 1))
    fault = slice(FAULT.start - TRAIN, FAULT.stop - TRAIN)
    assert np.isfinite(before).all()
    assert np.isnan(after[20:25, 0]).all()  # absent, so not scored
    assert np.nanmax(after[fault, 0]) > np.nanmax(after[: fault.start, 0])
    shorter = replace(present, times_ms=present.times_ms[:115], values=present.values[:115])
    np.testing.assert_allclose(score_servers(past, shorter, lambda: peer.make(past.step_s, 1))[1], after[:115])


def test_a_peer_is_calibrated_as_our_own_score_is(parts):
    """The forest's own scores given as a peer's, without the spike channel, open what the forest opens."""
    past, present = parts
    setup = Setup()
    package = calibrate_package(
        prepare(past, seed=1), distance_score, model_version="x", samples_per_tree=SAMPLES_PER_TREE
    )
    package.seeds.channel_gated[:] = 1
    groups = groups_of(present)
    own = backtest(package, present, distance_score, PolicySettings(), groups=groups)
    given = backtest(
        package, present, lambda rows: np.zeros(len(rows)), setup.policy, groups=groups, given_scores=own.trace.score
    )
    assert given.changes == own.changes
    assert len(openings(own.changes)) > 0


def test_a_peer_opens_an_incident_at_the_fault(parts):
    opened = openings(run_peer("PCA", *parts, Setup()).changes)
    assert any(parts[1].times_ms[100] <= o.at_ms <= parts[1].times_ms[112] for o in opened)


@pytest.mark.parametrize(("at_zero", "p2", "p1"), [(-2.0, 4.0, 5.0), (1.0, 3.0, 4.0)])
def test_a_peer_s_thresholds_are_as_rare_as_a_channel_s_and_not_below_its_floors(at_zero, p2, p1):
    """Half a decade of rarity is one of the measure: rarities 0 and .5 lie where the line says, floors at 3 and 4."""
    fitted = Thresholds(p2=8.2, p1=8.5, decade=2.0, rarity_at_zero=at_zero)
    found = as_rare_as_a_channel(replace(FLOORS, thresholds={"score": fitted}))["score"]
    assert (found.p2, found.p1) == (p2, p1)


def test_a_peer_whose_past_is_too_quiet_has_its_floors():
    assert as_rare_as_a_channel(replace(FLOORS, thresholds={"score": NEVER}))["score"] == FLOORS["score"]


def test_an_unknown_peer_is_named_with_those_there_are():
    with pytest.raises(UsageError, match="no peer 'prophet'; there are three-sigma, EWMA"):
        entry("prophet")
