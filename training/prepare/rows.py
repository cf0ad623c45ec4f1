"""The first pass over a history: the detector's features, and the rows that the forest learns from.

Runs the detector's own functions over the history, so that training and serving cannot drift apart.
"""

import hashlib
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from training.history.grid import Grid
from training.processes import Progress, run_jobs, shares
from treeline.core.channels import registry
from treeline.core.detection import detector
from treeline.core.detection.features import TRAILING_S
from treeline.core.detection.metric_warmup import FEWEST_VALUES, UNKNOWN
from treeline.core.detection.warmup import spread_floor
from treeline.core.errors import UsageError
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import RECENT, VIEWS
from treeline.core.statistics import FloatArray, standardize

ROWS_PER_SERVER = 2500  # equal shares: a long history must not outvote a short one
MAX_CALIBRATION_ROWS = 2_000_000


@dataclass(slots=True)
class Prepared:
    """What the first pass over the history leaves: rows to train on, and the state to calibrate."""

    grid: Grid
    state: FleetState
    rows: npt.NDArray[np.float32]  # (times kept, servers, features), NaN where absent
    magnitudes: npt.NDArray[np.float32]  # (times kept, servers, channels), NaN where absent
    first: int  # position of the first time kept
    training_rows: npt.NDArray[np.float32] = field(repr=False)

    def of_servers(self, share: slice) -> "Prepared":
        """Some neighbouring servers' part, apart from the training rows, which are the fleet's."""
        return Prepared(
            self.grid.of_servers(share),
            self.state.part(share),
            self.rows[:, share],
            self.magnitudes[:, share],
            self.first,
            self.training_rows,
        )

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which server has a row at which time kept, shape (times kept, servers)."""
        return np.logical_not(np.isnan(self.magnitudes[..., 0]))


def seed_state(grid: Grid, baselines: tuple[FloatArray, FloatArray] | None = None) -> FleetState:
    """Baselines of every server from its whole training history, and view seeds consistent with them.

    Args:
        grid: The history, at the step that detection will run at.
        baselines: Mean and spread, each (servers, metrics), where more is known than the grid holds (coarser data
            of earlier months); else they are the grid's own.
    """
    state = FleetState(len(grid.metrics), servers=list(grid.servers))
    for row in range(len(grid.servers)):
        data = grid.values[:, row, :].astype(np.float64)
        data = data[~np.isnan(data).all(axis=1)]
        if len(data) < 2:
            continue
        mean, sd, low, high = _summaries(data)
        spread = spread_floor(sd, high - low, mean)
        if baselines is not None:
            mean, spread = baselines[0][row], baselines[1][row]
        x = standardize(data, mean, spread)
        x = np.where(np.isnan(x), 0.0, x)
        sums = np.cumsum(np.concatenate([np.zeros((1, x.shape[1])), x]), axis=0)
        width = min(RECENT, len(x))
        views = (x, (sums[width:] - sums[:-width]) / width, np.diff(x, axis=0))
        unknown = _hardly_seen(data)
        state.base_mean[row], state.base_spread[row] = np.where(unknown, 0.0, mean), np.where(unknown, UNKNOWN, spread)
        for view in range(VIEWS):
            view_sd = views[view].std(axis=0)
            state.view_floor[row, view] = 0.1 * view_sd
            state.view_mean[row, view] = views[view].mean(axis=0)
            state.view_var[row, view] = view_sd**2
        for channel in registry.CHANNELS:
            for name, value in channel.seeds(x).items():
                getattr(state, name)[row] = value
        state.day_mean[row] = 0.0
        state.day_var[row] = np.where(unknown, 0.0, x.std(axis=0) ** 2)
        state.phase[row] = Phase.READY
    return state


def _hardly_seen(data: FloatArray) -> npt.NDArray[np.bool_]:
    """Columns with too few values for a baseline: such a metric warms up when it comes."""
    values = (~np.isnan(data)).sum(axis=0)
    hardly: npt.NDArray[np.bool_] = values < min(FEWEST_VALUES, len(data) / 2)
    return hardly


def _summaries(data: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean, sd and the 0.1 and 99.9 % quantiles of each column, NaN left out; zeros for an empty column."""
    filled = np.where(np.isnan(data).all(axis=0), 0.0, data)
    low, high = np.nanquantile(filled, [0.001, 0.999], axis=0)
    return np.nanmean(filled, axis=0), np.nanstd(filled, axis=0), low, high


def prepare(grid: Grid, *, seed: int, workers: int = 1, progress: Progress = lambda *_: None) -> Prepared:
    """First pass: run the detector's features over the history and choose the forest's training rows.

    Args:
        grid: The history.
        seed: Of the choice of rows.
        workers: Processes to share the servers out to; they do not change the result.
        progress: Told how far it is.

    Raises:
        UsageError: No server has two observations.
    """
    total, servers = len(grid.times_ms), len(grid.servers)
    keep = max(1, min(total, MAX_CALIBRATION_ROWS // max(servers, 1)))
    parts = run_jobs([partial(_features, grid.of_servers(share), keep) for share in shares(servers, workers)], progress)
    state = FleetState.joined([state for state, _, _ in parts])
    if not (state.phase == Phase.READY).any():
        raise UsageError("the training history holds no server with two observations or more")
    rows, magnitudes = (np.concatenate([part[which] for part in parts], axis=1) for which in (1, 2))
    settled = min(int(0.1 * TRAILING_S / grid.step_s), keep // 2)
    return Prepared(grid, state, rows, magnitudes, total - keep, _training_rows(rows[settled:], seed))


Array = npt.NDArray[np.float32]


def _features(grid: Grid, keep: int, progress: Progress) -> tuple[FleetState, Array, Array]:
    """The state after the history, and the feature rows and magnitudes of its last `keep` times."""
    state = seed_state(grid)
    total, servers = len(grid.times_ms), len(grid.servers)
    first = total - keep
    rows = np.full((keep, servers, 12), np.nan, dtype=np.float32)
    magnitudes = np.full((keep, servers, len(registry.CHANNELS)), np.nan, dtype=np.float32)
    step_ms = round(grid.step_s * 1000)
    for t, present, values in grid.rounds():
        at = np.full(len(present), grid.times_ms[t])
        batch = detector.Round(int(grid.times_ms[t] // step_ms), present, present, at, values)
        done = detector.prepare(state, batch, step_s=grid.step_s)
        if t >= first:
            ready = present[done.ready]
            rows[t - first, ready] = done.features.rows
            magnitudes[t - first, ready] = done.features.magnitudes
        if t % 500 == 0:
            progress("features", t / total)
    progress("features", 1.0)
    return state, rows, magnitudes


def _training_rows(rows: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """An equal, random share of each server's rows."""
    rng = np.random.default_rng(seed)
    chosen = []
    for server in range(rows.shape[1]):
        own = rows[:, server]
        own = own[~np.isnan(own[:, 0])]
        chosen.append(
            own if len(own) <= ROWS_PER_SERVER else own[np.sort(rng.choice(len(own), ROWS_PER_SERVER, False))]
        )
    return np.concatenate(chosen)


def fingerprint(rows: npt.NDArray[np.float32]) -> str:
    """Names a set of training rows: SHA-256, first 16 hexadecimal digits."""
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]
