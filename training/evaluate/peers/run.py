"""Run a peer over a history: a rule by itself, a detector with our own calibration and persistence.

A detector's scores stand in the place of the forest's in the very functions that fit and detect, so that only the
score differs; our other channels, which are no part of the score, are off for it. Its thresholds come from the same
unlabelled past as ours and are as rare there as each of our channels over the metrics (our forest's, which decides
beside them, are rarer), above a floor of its own: ours was chosen for our forest, and a bounded score would never
reach it.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from time import process_time

import numpy as np
import numpy.typing as npt

from training.evaluate.backtest import Backtest, backtest
from training.evaluate.experiment import Setup, groups_of, with_thresholds_of
from training.evaluate.peers.catalogue import entry
from training.evaluate.peers.interface import Peer, Values
from training.evaluate.peers.rules import Rule
from training.history.grid import Grid
from training.prepare.calibrating import Score, calibrate_package
from training.prepare.preparation import Prepared, prepare
from training.prepare.thresholds import TIERS_APART
from training.processes import Progress
from treeline.core.channels import registry
from treeline.core.channels.channel import Channel
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.warmup import spread_floor
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray

MIN_ROWS = 100  # of a server to fit a peer on
# A peer's score has no limit that would make it a distance: it is held against the server's own, the usual three-sigma.
FLOORS = Calibration(
    score_rule=ScoreSettings(rule=ScoreRule.EMA, fleet_weight=0.0), thresholds={"score": Thresholds(p2=3.0, p1=4.0)}
)
LIMIT = 100.0  # standard deviations; a metric that was constant in training must not drown the others

Matrix = npt.NDArray[np.float64]


def run_peers(
    names: Sequence[str], past: Grid, present: Grid, setup: Setup, *, workers: int, progress: Progress
) -> Iterator[tuple[str, Backtest, float]]:
    """Each peer's detection on the test part and its processor seconds, as they finish.

    `workers` of them run at a time, in processes of their own.
    """
    if workers <= 1 or len(names) <= 1:
        for done, name in enumerate(names, start=1):
            yield name, *_timed(name, past, present, setup)
            progress("peers", done / len(names))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_timed, name, past, present, setup): name for name in names}
        for done, future in enumerate(as_completed(running), start=1):
            yield running[future], *future.result()
            progress("peers", done / len(names))


def _timed(name: str, past: Grid, present: Grid, setup: Setup) -> tuple[Backtest, float]:
    began = process_time()
    return run_peer(name, past, present, setup), process_time() - began


def run_peer(name: str, past: Grid, present: Grid, setup: Setup) -> Backtest:
    """One peer, fitted on the train part of each server and run over its test part."""
    peer = entry(name)
    if isinstance(peer, Rule):
        return peer.run(past, present)
    before, after = score_servers(past, present, lambda: peer.make(past.step_s, setup.seed))
    prepared = prepare(past, seed=setup.seed, rolling_window_s=setup.rolling_window_s)
    package = calibrate_package(
        prepared,
        _in_order(prepared, before[np.isin(past.times_ms, prepared.times_ms)]),
        model_version=name,
        samples_per_tree=1,  # limits the scores of a forest, and no others
        floors=FLOORS,
    )
    package = replace(package, calibration=as_rare_as_a_channel(package.calibration))
    package.seeds.channel_gated[:] = 1
    return backtest(
        with_thresholds_of(setup, package),
        present,
        lambda rows: np.zeros(len(rows)),
        setup.policy,
        groups=groups_of(present, setup.group_size),
        given_scores=after,
    )


def as_rare_as_a_channel(calibration: Calibration) -> Calibration:
    """The score's thresholds at the rarity of a channel over the metrics, not below `FLOORS`.

    Where the past is too short or too quiet to tell how rare a score is, the floors alone hold.
    """
    fitted, floor, rarity = calibration[registry.SCORE.name], FLOORS[registry.SCORE.name], Channel.rarity
    p2, p1 = floor.p2, floor.p1
    if fitted.decade is not None and fitted.rarity_at_zero is not None:
        p2, p1 = (
            max((each - fitted.rarity_at_zero) * fitted.decade, lowest)
            for each, lowest in ((rarity.p2, floor.p2), (rarity.p1, floor.p1))
        )
    moved = replace(fitted, p2=p2, p1=max(p1, TIERS_APART * p2))
    return replace(calibration, thresholds={**calibration.thresholds, registry.SCORE.name: moved})


def score_servers(past: Grid, present: Grid, make: Callable[[], Peer]) -> tuple[Matrix, Matrix]:
    """Scores of the train and of the test part, each (times, servers), NaN where a server was absent.

    A server that has no training part gets none: there is nothing to fit.
    """
    before = np.full(past.values.shape[:2], np.nan)
    after = np.full(present.values.shape[:2], np.nan)
    for column, server in enumerate(past.servers):
        at = present.servers.index(server)
        known = ~np.isnan(past.values[:, column]).all(axis=1)
        known_after = ~np.isnan(present.values[:, at]).all(axis=1)
        if known.sum() < MIN_ROWS:
            continue
        train = past.values[known, column].astype(np.float64)
        test = present.values[known_after, at].astype(np.float64)
        times = np.concatenate([past.times_ms[known], present.times_ms[known_after]])
        values = _standardized(train, test)
        detector = make()
        detector.fit(times[: len(train)], values[: len(train)])
        scores = detector.score(times, values)
        before[known, column], after[known_after, at] = scores[: len(train)], scores[len(train) :]
    return before, after


def _standardized(train: Values, test: Values) -> Values:
    """Both parts by the training part's mean and spread, without gaps."""
    filled = np.where(np.isnan(train).all(axis=0), 0.0, train)
    mean, sd = np.nanmean(filled, axis=0), np.nanstd(filled, axis=0)
    low, high = np.nanquantile(filled, [0.001, 0.999], axis=0)
    values = (np.concatenate([train, test]) - mean) / spread_floor(sd, high - low, mean)
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    carried = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.clip(np.where(last >= 0, carried, 0.0), -LIMIT, LIMIT)


def _in_order(prepared: Prepared, scores: Matrix) -> Score:
    """The forest's stand-in for `calibrate_package`, which asks row by row in order of time and server.

    Args:
        prepared: The first pass.
        scores: At the times it kept, (times, servers).
    """
    present = prepared.present
    queue = np.nan_to_num(scores[present])
    position = 0

    def score(rows: npt.NDArray[np.float32]) -> FloatArray:
        nonlocal position
        part = queue[position : position + len(rows)]
        position += len(rows)
        return part

    return score
