"""Training data of any length in constant memory: parquet -> features -> what is learned from, RecordIO shards.

The first pass over the files goes server by server: what each usually reports, and hourly means for hygiene; the
second too: baselines over all resolutions. The third goes through time: the detector's own features, a window at a
time; what hygiene leaves out is never learned from. What comes out is what `rows.prepare` gives for a short history,
of which that one holds the whole in memory.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.history.cloudwatch.store import Files
from training.history.files import History
from training.history.grid import Grid
from training.history.labels import FLEET, Label
from training.history.resolution import ResolvedSeries, mixed_baseline
from training.prepare import hygiene
from training.prepare.data_quality import MOST_ROWS
from training.prepare.hygiene import DEFAULT_RULES, HOUR_MS, Exclusion, Rules
from training.prepare.rows import MAX_CALIBRATION_ROWS, ROWS_PER_SERVER, Prepared, seed_state
from training.processes import Progress
from treeline.core.channels import registry
from treeline.core.detection import detector
from treeline.core.detection.features import FEATURE_NAMES, TRAILING_S
from treeline.core.detection.warmup import spread_floor
from treeline.core.errors import UsageError
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.statistics import FloatArray
from treeline.forest import recordio

ROWS_PER_SHARD = 500_000
WINDOW_VALUES = 4_000_000  # of the last pass, held at once a few times over
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What people and tables say about the history; see `training.prepare.hygiene.told`."""

    labels: Sequence[Label] = ()
    open_incidents: Sequence[tuple[str, int]] = ()
    maintenance: Sequence[tuple[str, int, int]] = ()
    rules: Rules = DEFAULT_RULES


NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A prepared training set, and everything that was left out of it.

    Attributes:
        prepared: What calibration needs, and an equal share of every server's rows for the forest.
        values: A sample of the observations learned from, (n, metrics), all of them where there are few.
        left_out: By server and time.
        observations: How many were learned from.
        from_ms, to_ms: The range of the finest history.
    """

    prepared: Prepared
    values: Rows
    left_out: tuple[Exclusion, ...]
    observations: int
    from_ms: int
    to_ms: int

    def manifest(self) -> dict[str, object]:
        """For `calibrate_package(manifest=...)`: the whole range, not only the part calibrated on."""
        return {
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "observations": self.observations,
            "left_out": hygiene.to_manifest(self.left_out),
        }


@dataclass(slots=True)
class _Survey:
    """The first pass: seeds, and what hygiene needs to know."""

    state: FleetState
    usually: NDArray[np.bool_]
    told: list[Exclusion]
    suspected: list[Exclusion]


def build(
    histories: Mapping[int, History],
    *,
    seed: int,
    known: Known = NOTHING_KNOWN,
    window_rows: int | None = None,
    progress: Progress = lambda *_: None,
) -> Dataset:
    """Prepare a training set from histories of one fleet.

    Args:
        histories: By period in seconds, as `history.resolution.open_resolutions` gives them. Detection will run at
            the finest; the coarser ones widen the baselines only.
        seed: Of the choice of rows.
        known: Labels, open incidents, maintenance windows.
        window_rows: Rows of the last pass held at once; None for as many as fit, by the number of metrics.
        progress: Told what is going on, and how far.

    Raises:
        UsageError: No server has two observations, or the histories disagree on the metrics.
    """
    finest = min(histories)
    history = histories[finest]
    for period_s, other in histories.items():
        if other.metrics != history.metrics:
            raise UsageError(
                f"{other.path} has metrics {', '.join(other.metrics)}, {history.path} has "
                f"{', '.join(history.metrics)}: fetch them with one metric set ({period_s} s and {finest} s)"
            )
    survey = _survey(histories, finest, known, progress)
    if not (survey.state.phase == Phase.READY).any():
        raise UsageError("the training history holds no server with two observations or more")
    rows = window_rows or max(1, WINDOW_VALUES // len(history.metrics))
    return _features(history, float(finest), survey, seed, rows, progress)


def _survey(histories: Mapping[int, History], finest: int, known: Known, progress: Progress) -> _Survey:
    history = histories[finest]
    servers, metrics = history.servers, history.metrics
    span = history.start_ms, history.end_ms
    told = hygiene.told(
        servers,
        (min(h.start_ms for h in histories.values()), span[1]),
        labels=known.labels,
        open_incidents=known.open_incidents,
        maintenance=known.maintenance,
        rules=known.rules,
    )
    by_server = _by_server(told)
    first_hour = span[0] // HOUR_MS
    hours = np.arange(first_hour, span[1] // HOUR_MS + 1)
    means = np.full((len(hours), len(servers), len(metrics)), np.nan, dtype=np.float32)
    state = FleetState(len(metrics), servers=list(servers))
    usually = np.zeros((len(servers), len(metrics)), dtype=bool)
    for row, server in enumerate(servers):
        grid = _one_server(history, server, finest, by_server)
        usually[row] = hygiene.usual(grid, known.rules)[0]
        own_hours, own_means = hygiene.hourly(grid)
        means[own_hours - first_hour, row] = own_means[:, 0]
        progress("survey", (row + 1) / len(servers))
    suspected = hygiene.suspected(servers, metrics, hours, means, span, rules=known.rules)
    by_server = _by_server([*told, *suspected])
    for row, server in enumerate(servers):
        grid = _one_server(history, server, finest, by_server)
        series = {finest: ResolvedSeries(grid.times_ms, grid.values[:, 0])}
        for period_s, other in histories.items():
            if period_s != finest and server in other.rows:
                coarse = _one_server(other, server, period_s, by_server)
                series[period_s] = ResolvedSeries(coarse.times_ms, coarse.values[:, 0])
        mixed = mixed_baseline(series)
        spread = spread_floor(mixed.sd, mixed.value_range, mixed.mean)
        state.set_row(row, seed_state(grid, (mixed.mean[None], spread[None])).row_values(0))
        progress("baselines", (row + 1) / len(servers))
    return _Survey(state, usually, told, suspected)


def _one_server(history: History, server: str, period_s: int, by_server: Mapping[str, Sequence[Exclusion]]) -> Grid:
    times, values = history.matrix(server)
    grid = Grid(times, (server,), history.metrics, values[:, None, :], float(period_s))
    return hygiene.apply(grid, [*by_server.get(server, ()), *by_server.get(FLEET, ())])


def _by_server(found: Iterable[Exclusion]) -> dict[str, list[Exclusion]]:
    by_server: dict[str, list[Exclusion]] = {}
    for exclusion in found:
        by_server.setdefault(exclusion.server_id, []).append(exclusion)
    return by_server


def _features(
    history: History,
    step_s: float,
    survey: _Survey,
    seed: int,
    window_rows: int,
    progress: Progress,
) -> Dataset:
    state, servers = survey.state, history.servers
    sample = ServerSamples(len(servers), ROWS_PER_SERVER, len(FEATURE_NAMES), np.random.default_rng(seed))
    seen = ServerSamples(1, MOST_ROWS, len(history.metrics), np.random.default_rng([seed, 1]))
    tail = _Tail(len(servers), len(FEATURE_NAMES), max(1, MAX_CALIBRATION_ROWS // len(servers)))
    left_out = [*survey.told, *survey.suspected]
    observations, step_ms = 0, round(step_s * 1000)
    # The averages need a while before their features mean anything.
    settled_ms = history.start_ms + min(round(0.1 * TRAILING_S * 1000), (history.end_ms - history.start_ms) // 2)
    for grid in _windows(history, step_s, window_rows):
        cleaned = hygiene.apply(grid, [*survey.told, *survey.suspected])
        gaps = hygiene.imputed(cleaned, survey.usually)
        left_out += gaps
        cleaned = hygiene.apply(cleaned, gaps)
        learned = cleaned.values[cleaned.present()]
        seen.add(np.zeros(len(learned), dtype=np.intp), learned)
        kept_rows, kept_servers = [], []
        for t, present, values in cleaned.rounds():
            at_ms = int(grid.times_ms[t])
            at = np.full(len(present), at_ms)
            batch = detector.Round(at_ms // step_ms, present, present, at, values)
            done = detector.prepare(state, batch, step_s=step_s)
            ready = present[done.ready]
            observations += len(present)
            tail.add(at_ms, ready, done.features.rows, done.features.magnitudes)
            if at_ms >= settled_ms:
                kept_rows.append(done.features.rows)
                kept_servers.append(ready)
        if kept_rows:
            sample.add(np.concatenate(kept_servers), np.concatenate(kept_rows))
        progress("features", (int(grid.times_ms[-1]) - history.start_ms) / max(history.end_ms - history.start_ms, 1))
    times, rows, magnitudes = tail.arrays()
    empty = np.empty((len(times), len(servers), 0), dtype=np.float32)
    axis = Grid(times, servers, history.metrics, empty, step_s)
    prepared = Prepared(axis, state, rows, magnitudes, 0, sample.rows())
    return Dataset(prepared, seen.rows(), tuple(sorted(left_out)), observations, history.start_ms, history.end_ms)


def _windows(history: History, step_s: float, rows: int) -> Iterator[Grid]:
    """The history as dense grids on the step's raster, in time order; of two values in a step the later one counts."""
    step_ms = round(step_s * 1000)
    for window in history.windows(rows=rows, align_ms=step_ms):
        at = window.times_ms // step_ms * step_ms
        times, position = np.unique(at, return_inverse=True)
        values = np.full((len(times), len(history.servers), len(history.metrics)), np.nan, dtype=np.float32)
        values[position, window.servers] = window.values
        yield Grid(times, history.servers, history.metrics, values, step_s)


class ServerSamples:
    """A uniform sample without replacement of each server's rows, of one size, however the stream is cut."""

    def __init__(self, servers: int, size: int, width: int, rng: np.random.Generator) -> None:
        self._size, self._width, self._rng = size, width, rng
        self._keys: list[NDArray[np.float64]] = [np.empty(0)] * servers
        self._rows: list[Rows | None] = [None] * servers

    def add(self, servers: NDArray[np.intp], rows: Rows) -> None:
        """Offer rows; `servers` names the server of each."""
        order = np.argsort(servers, kind="stable")
        keys = self._rng.random(len(rows))
        borders = np.searchsorted(servers[order], np.arange(len(self._keys) + 1))
        for server in np.unique(servers).tolist():
            own = order[borders[server] : borders[server + 1]]
            self._offer(server, keys[own], rows[own])

    def _offer(self, server: int, keys: NDArray[np.float64], rows: Rows) -> None:
        before = self._rows[server]
        keys = np.concatenate([self._keys[server], keys])
        rows = rows if before is None else np.concatenate([before, rows])
        if len(keys) > self._size:
            # The rows with the smallest keys are the sample, in order of arrival.
            chosen = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            keys, rows = keys[chosen], rows[chosen]
        self._keys[server], self._rows[server] = keys, rows

    def rows(self) -> Rows:
        """All samples, server by server."""
        kept = [rows for rows in self._rows if rows is not None]
        return np.concatenate(kept) if kept else np.empty((0, self._width), dtype=np.float32)


class _Tail:
    """The last `size` times' features of every server, for calibration: a ring."""

    def __init__(self, servers: int, features: int, size: int) -> None:
        self._times = np.empty(size, dtype=np.int64)
        self._rows = np.full((size, servers, features), np.nan, dtype=np.float32)
        self._magnitudes = np.full((size, servers, len(registry.CHANNELS)), np.nan, dtype=np.float32)
        self._added = 0

    def add(self, at_ms: int, servers: NDArray[np.intp], rows: Rows, magnitudes: FloatArray) -> None:
        slot = self._added % len(self._times)
        self._times[slot] = at_ms
        self._rows[slot], self._magnitudes[slot] = np.nan, np.nan
        self._rows[slot, servers], self._magnitudes[slot, servers] = rows, magnitudes
        self._added += 1

    def arrays(self) -> tuple[NDArray[np.int64], Rows, NDArray[np.float32]]:
        """Times (n,), features (n, servers, features), magnitudes (n, servers, channels), in time order."""
        size = len(self._times)
        if self._added <= size:
            return self._times[: self._added], self._rows[: self._added], self._magnitudes[: self._added]
        first = self._added % size
        # In place: rolling copies would double the largest arrays of the whole run.
        for array in (self._times, self._rows, self._magnitudes):
            _rotate(array, first)
        return self._times, self._rows, self._magnitudes


def _rotate(array: NDArray[np.generic], first: int) -> None:
    """Make `array[first]` the first entry: three reversals, no copy of the whole."""
    for part in (array[:first], array[first:], array):
        half = len(part) // 2
        for low in range(0, half, 1024):
            high = min(low + 1024, half)
            mirrored = part[len(part) - high : len(part) - low][::-1].copy()
            part[len(part) - high : len(part) - low] = part[low:high][::-1]
            part[low:high] = mirrored


class Shards:
    """RecordIO files of `rows_per_shard` rows, each written whole when it is full; `close` writes the last one."""

    def __init__(self, files: Files, prefix: str = "train", *, rows_per_shard: int = ROWS_PER_SHARD) -> None:
        self._files, self._prefix, self._rows_per_shard = files, prefix, rows_per_shard
        self._waiting: list[Rows] = []
        self._count = 0
        self.names: list[str] = []
        self.rows = 0

    def write(self, rows: Rows) -> None:
        """Append rows (n, features)."""
        self._waiting.append(rows)
        self._count += len(rows)
        self.rows += len(rows)
        while self._count >= self._rows_per_shard:
            self._flush(self._rows_per_shard)

    def close(self) -> None:
        """Write what is left."""
        if self._count:
            self._flush(self._count)

    def _flush(self, count: int) -> None:
        joined = np.concatenate(self._waiting)
        name = f"{self._prefix}/rows-{len(self.names):05d}.pbr"
        self._files.write(name, recordio.encode(joined[:count]))
        self.names.append(name)
        self._waiting = [joined[count:].copy()]
        self._count -= count
