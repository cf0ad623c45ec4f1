"""The first pass over a history: every server's seeds, features to calibrate on, and rows for the forest to learn from.

The one preparation for the demo, backtests, tuning, `treeline calibrate` and the pipeline. It runs the detector's own
functions over the history, so that training and serving cannot drift apart, and holds no more of a history in files
than a window. `training.prepare.calibrating` is the second pass.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from training.history.files import History
from training.prepare.hygiene import Disturbances, Exclusion
from training.prepare.kept import Kept
from training.prepare.related import ChosenRows, chosen, related
from training.prepare.sampling import Rows, ServerSamples, drawn, with_typical
from training.prepare.seeds import seeded
from training.prepare.source import HistorySource
from training.prepare.survey import Survey, survey
from training.processes import Progress, run_jobs
from treeline.core.detection import detector
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.errors import UsageError
from treeline.core.expectation import local_time, rolling_limits
from treeline.core.state.fleet import FleetState, Phase

MAX_CALIBRATION_ROWS = 2_000_000  # of a profile of four metrics
MOST_NUMBERS = 8_000_000  # rows times metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was learned from, for the model's manifest: the range, how many observations, and what was left out."""

    from_ms: int
    to_ms: int
    observations: int
    left_out: tuple[Exclusion, ...] = ()


@dataclass(slots=True, kw_only=True)
class Prepared:
    """What the first pass leaves: rows to train on, and the state to calibrate."""

    metrics: tuple[str, ...]  # names, in order of the columns
    step_s: float
    state: FleetState  # of every server after the history
    times_ms: npt.NDArray[np.int64]  # the last times of the history, as many as calibration needs (n,)
    rows: Rows  # the features at these times (n, servers, features), NaN where absent
    magnitudes: Rows  # the channels' magnitudes at these times (n, servers, channels), NaN where absent
    held_out: npt.NDArray[np.bool_]  # which rows were kept apart to find thresholds on, shape (n, servers)
    training_rows: Rows = field(repr=False)  # what the forest learns from (rows, features)
    learned: Learned  # of the whole history

    def of_servers(self, share: slice) -> "Prepared":
        """Some neighbouring servers' part, apart from the training rows, which are the fleet's."""
        return replace(
            self,
            state=self.state.part(share),
            rows=self.rows[:, share],
            magnitudes=self.magnitudes[:, share],
            held_out=self.held_out[:, share],
        )

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which server has a row at which time kept, shape (n, servers)."""
        return np.logical_not(np.isnan(self.magnitudes[..., 0]))

    @property
    def unseen_rows(self) -> Rows:
        """The rows that a forest is not grown on (n, features): scores of its own are lower than any to come."""
        return self.rows[self.held_out] if self.held_out.any() else self.training_rows


# long: half of it is its signature and docstring
def prepare(
    source: HistorySource,
    *,
    seed: int,
    hygiene: Disturbances | None = None,
    coarser: Mapping[int, History] | None = None,
    values: ServerSamples | None = None,
    groups: Mapping[str, int] | None = None,
    rolling_window_s: float = 0.0,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Prepared:
    """First pass: run the detector's features over a history and choose the forest's training rows.

    Args:
        source: The history: a grid, or windows of files.
        seed: Of the choice of rows.
        hygiene: What people say about the history: leave that out, and what the rules find themselves. None to learn
            from everything.
        coarser: The same fleet's earlier months, by period in seconds; they widen the baselines only.
        values: Offered every observation that is learned from, as of one server.
        groups: By server: the group in which it is decided. None: in the order of their names.
        rolling_window_s: Length of the rolling window that every series is to be expected by; 0: each by what predicted
            its own past best.
        workers: Processes to share the servers of a grid out to; they do not change the result.
        progress: Told what is going on, and how far.

    Raises:
        UsageError: No server has two observations, the histories disagree on the metrics, or the window is too short
            for the sampling step.
    """
    coarser = coarser or {}
    if rolling_window_s and (why := rolling_limits.why_too_short(rolling_window_s, source.step_s)):
        raise UsageError(f"the rolling window in seconds {why}: set detection.rolling_window_s")
    _require_same_metrics(source, coarser)
    surveyed = None if hygiene is None else survey(source, coarser.values(), hygiene, progress)
    servers = len(source.servers)
    size = max(
        1, min(source.most_times, min(MAX_CALIBRATION_ROWS, MOST_NUMBERS // len(source.metrics)) // max(servers, 1))
    )
    parts = source.shares(workers if values is None else 1)
    jobs = [partial(_features, part, surveyed, coarser, size, values, rolling_window_s) for part in parts]
    read = _joined(run_jobs(jobs, progress))
    ready = read.state.phase == Phase.READY
    if not ready.any():
        raise UsageError("the training history holds no server with two observations or more")
    unknown = (read.state.base_spread[ready] == UNKNOWN).all(axis=0)
    groups = numbered(source.servers) if groups is None else groups
    rows = related(read.state, read.kept, groups=groups, step_s=source.step_s, progress=progress)
    left_out = [] if surveyed is None else surveyed.all_exclusions()
    return Prepared(
        metrics=source.metrics,
        step_s=source.step_s,
        state=read.state,
        times_ms=read.kept.times_ms,
        rows=rows,
        magnitudes=read.kept.magnitudes,
        held_out=read.kept.held_out,
        training_rows=with_typical(drawn(rows, read.kept.learned, seed), unknown, seed),
        learned=Learned(
            from_ms=source.start_ms,
            to_ms=source.end_ms,
            observations=read.observations,
            left_out=tuple(sorted([*left_out, *read.gaps])),
        ),
    )


GROUP_SIZE = 50


def numbered(servers: Sequence[str]) -> dict[str, int]:
    """Server -> group, where servers are numbered in this order."""
    return {server: number // GROUP_SIZE for number, server in enumerate(servers)}


def _require_same_metrics(source: HistorySource, coarser: Mapping[int, History]) -> None:
    for period_s, other in coarser.items():
        if other.metrics != source.metrics:
            raise UsageError(
                f"{other.path} has metrics {', '.join(other.metrics)}, the {source.step_s:g} s history has "
                f"{', '.join(source.metrics)}: fetch them with one metric set ({period_s} s and {source.step_s:g} s)"
            )


@dataclass(slots=True)
class _Read:
    """What one process has read."""

    state: FleetState
    kept: ChosenRows
    observations: int = 0
    gaps: list[Exclusion] = field(default_factory=list)


def _joined(parts: Sequence[_Read]) -> _Read:
    """Neighbouring servers' parts as one; a single part is not copied."""
    if len(parts) == 1:
        return parts[0]
    return _Read(
        FleetState.joined([part.state for part in parts]),
        ChosenRows.together([part.kept for part in parts]),
        sum(part.observations for part in parts),
        [gap for part in parts for gap in part.gaps],
    )


def _features(
    source: HistorySource,
    surveyed: Survey | None,
    coarser: Mapping[int, History],
    size: int,
    values: ServerSamples | None,
    rolling_window_s: float,
    progress: Progress,
) -> _Read:
    """Run the detector's features over the history, a window at a time."""
    # By the clock and not by what was seen, which in a part of the fleet is not what it is in the whole.
    step_ms, rounds = round(source.step_s * 1000), 0
    kept_from_ms = (source.end_ms // step_ms - size + 1) * step_ms
    state = seeded(source, surveyed, coarser, rolling_window_s, progress)
    kept = Kept(len(source.servers), size, len(source.metrics), rolling=rolling_window_s > 0)
    observations, every_gap = 0, list[Exclusion]()
    zones = source.zones.of(source.servers)
    start_ms, length_ms = source.start_ms, max(source.end_ms - source.start_ms, 1)
    for observed in source.windows():
        window, gaps = (observed, []) if surveyed is None else surveyed.clean(observed)
        every_gap += gaps
        if values is not None:
            learned = window.values[window.present()]
            values.offer(np.zeros(len(learned), dtype=np.intp), learned)
        for t, present, row_values in window.rounds():
            at_ms = int(window.times_ms[t])
            at = np.full(len(present), at_ms)
            batch = detector.Round(at_ms // step_ms, present, present, at, row_values)
            state.utc_offset_s[present] = local_time.offsets_s(zones[present], at)
            done = detector.prepare(state, batch, step_s=source.step_s)
            ready = present[done.ready]
            if at_ms >= kept_from_ms:
                kept.add(at_ms, ready, done.features, state.season_offset[ready])
            detector.learn(state, done)
            observations += len(present)
            if rounds % 500 == 0:
                progress("features", (at_ms - start_ms) / length_ms)
            rounds += 1
    progress("features", 1.0)
    return _Read(state, chosen(state, kept.in_order(), step_s=source.step_s), observations, every_gap)


def fingerprint(rows: Rows) -> str:
    """Names a set of training rows: SHA-256, first 16 hexadecimal digits."""
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]
