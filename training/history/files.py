"""History files: what every offline command reads.

A history is a long parquet file (`timestamp, server_id, <metric columns>[, split][, label]`) and, where known,
an incidents CSV (`server_id, start, end`, both inclusive; `kind` is kept, other columns are ignored). Times
without a zone are UTC. Files in NAB's series form are read too (see `training.history.parquet`).

Values are what ingest would have stored of them: one a little beyond its metric's declared range is the nearest that
can be, and one that is infinite or farther out is missing (`treeline.core.limits.possible_values`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.history.incidents import read_incidents
from training.history.labels import NAB_WINDOWS, STANDARD, Label, Protocol
from training.history.parquet import HistoryFile, HistoryWindow, ServerTimes
from treeline.core.errors import UsageError
from treeline.core.limits import MetricLimits, possible_values
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.times import iso, to_ms

# Values held at once by a dense block or a replay window: 96 MB of float32.
_VALUES_AT_ONCE = 24_000_000

Part = Literal["all", "train", "test"]
Times = NDArray[np.int64]
Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRows:
    """What one server has in the chosen range: first and last ms, rows, and where its test part begins."""

    first_ms: int
    last_ms: int
    rows: int
    test_start_ms: int  # rows before it are for training


@dataclass(slots=True, kw_only=True)
class History:
    """A validated history; made by `open_history`, holds no more than one block of servers in memory."""

    path: Path
    metrics: tuple[str, ...]  # in column order
    servers: tuple[str, ...]  # sorted
    rows: Mapping[str, ServerRows]
    step_s: float  # median time between a server's rows
    incidents: tuple[Label, ...]  # of the chosen servers and range, by server and time
    split_by: str  # "column", "date", "fraction" or "fraction of each server": where test_start_ms comes from
    protocol: Protocol  # how its labels are meant to be read
    declared: tuple[Metric, ...]  # what is known of metrics; of a column that is not among them nothing is
    _file: HistoryFile
    _block: dict[str, tuple[Times, Values]] = field(default_factory=dict)

    @property
    def start_ms(self) -> int:
        """The first row's time."""
        return min(r.first_ms for r in self.rows.values())

    @property
    def end_ms(self) -> int:
        """The last row's time."""
        return max(r.last_ms for r in self.rows.values())

    @property
    def row_count(self) -> int:
        """Rows of the chosen servers and range."""
        return sum(r.rows for r in self.rows.values())

    def of_metrics(self, metrics: Sequence[str]) -> "History":
        """The same history with these metrics only, in this order.

        Raises:
            UsageError: It lacks one.
        """
        missing = [name for name in metrics if name not in self.metrics]
        if missing:
            raise UsageError(
                f"the history lacks {', '.join(missing)}, which this deployment watches; it has "
                f"{', '.join(self.metrics)}"
            )
        return replace(self, metrics=tuple(metrics), _block={})

    @property
    def test_start_ms(self) -> int:
        """Where the first server's test part begins."""
        return min(max(r.first_ms, r.test_start_ms) for r in self.rows.values())

    @property
    def metric_declarations(self) -> tuple[Metric, ...]:
        """What is declared of its columns, in their order."""
        known = {metric.name: metric for metric in self.declared}
        return tuple(known.get(name, Metric(name=name)) for name in self.metrics)

    @property
    def limits(self) -> MetricLimits:
        """The same as arrays."""
        return MetricLimits.of(self.metric_declarations)

    def matrix(self, server_id: str, *, part: Part = "all", as_in_file: bool = False) -> tuple[Times, Values]:
        """One server's times (n,) int64 ms, increasing, and values (n, metrics) float32; NaN where missing.

        `as_in_file` leaves in what cannot be: infinite values, and those beyond a declared range.
        Cheapest when servers are asked for in the order of `servers`: a block of neighbours is read at once.

        Raises:
            UsageError: The server is not in this history, or has two rows of one time.
        """
        if server_id not in self.rows:
            raise UsageError(_unknown_servers([server_id], self.servers, self.path))
        if server_id not in self._block:
            self._load_block(server_id)
        times, values = self._block[server_id]
        cut = int(np.searchsorted(times, self.rows[server_id].test_start_ms))
        chosen = {"all": slice(None), "train": slice(None, cut), "test": slice(cut, None)}[part]
        own = values[chosen]
        return times[chosen], own if as_in_file else possible_values(own, self.limits)

    def windows(
        self,
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        part: Part = "all",
        rows: int | None = None,
        align_ms: int = 1,
        as_in_file: bool = False,
    ) -> Iterator[HistoryWindow]:
        """The rows of [start_ms, end_ms] in event-time order, ties by server_id, about `rows` rows at a time.

        The windows' borders depend on `rows` (default: what fits in memory); their concatenation does not. They lie
        on multiples of `align_ms`. `as_in_file` leaves in what cannot be, as `matrix` does.
        """
        first = self.start_ms if start_ms is None else max(start_ms, self.start_ms)
        last = self.end_ms if end_ms is None else min(end_ms, self.end_ms)
        if last < first:
            return
        at_once = rows or max(1, _VALUES_AT_ONCE // len(self.metrics))
        share = min(1.0, at_once / self.row_count)
        step = max(1, int((self.end_ms - self.start_ms + 1) * share) // align_ms) * align_ms
        limits = self.limits
        test_starts = np.array([self.rows[s].test_start_ms for s in self.servers], dtype=np.int64)
        for begin in range(first - first % align_ms, last + 1, step):
            window = self._file.read(self.servers, self.metrics, max(begin, first), min(begin + step - 1, last))
            if part != "all":
                in_test = window.times_ms >= test_starts[window.servers]
                keep = in_test if part == "test" else ~in_test
                window = window.take(keep)
            window = window.take(np.lexsort((window.servers, window.times_ms)))
            self._refuse_repeats(window.servers, window.times_ms)
            if len(window.times_ms):
                yield window if as_in_file else replace(window, values=possible_values(window.values, limits))

    def records(
        self, start_ms: int | None = None, end_ms: int | None = None, *, part: Part = "all", rows: int | None = None
    ) -> Iterator[tuple[int, str, Values]]:
        """To be sent, row by row and as in the file: (observed_at_ms, server_id, values (metrics,) float32)."""
        for window in self.windows(start_ms, end_ms, part=part, rows=rows, as_in_file=True):
            names = [self.servers[i] for i in window.servers.tolist()]
            yield from zip(window.times_ms.tolist(), names, window.values, strict=True)

    def _load_block(self, server_id: str) -> None:
        """Replace the held block by one of `server_id` and the servers after it, as many as fit."""
        first = self.servers.index(server_id)
        block: list[str] = []
        values = 0
        for name in self.servers[first:]:
            values += self.rows[name].rows * len(self.metrics)
            if block and values > _VALUES_AT_ONCE:
                break
            block.append(name)
        self._block.clear()
        window = self._file.read(block, self.metrics, self.start_ms, self.end_ms)
        if not _is_in_order(window.servers, window.times_ms):
            window = window.take(np.lexsort((window.times_ms, window.servers)))
        times, servers, matrix = window.times_ms, window.servers, window.values
        self._refuse_repeats(servers + first, times)
        borders = np.searchsorted(servers, np.arange(len(block) + 1))
        for i, name in enumerate(block):
            here = slice(int(borders[i]), int(borders[i + 1]))
            self._block[name] = (times[here], matrix[here])

    def _refuse_repeats(self, servers: NDArray[np.int32], times: Times) -> None:
        repeated = np.flatnonzero((np.diff(times) == 0) & (np.diff(servers) == 0))
        if len(repeated):
            row = int(repeated[0])
            raise UsageError(
                f"{self.path}: {self.servers[int(servers[row])]} has two rows at timestamp {iso(int(times[row]))}; "
                "expected one row a server and time: keep one of them"
            )


def _is_in_order(servers: NDArray[np.int32], times: Times) -> bool:
    """Whether rows stand server by server, each by time: most files do, and sorting would copy all of them."""
    next_server, later = np.diff(servers), np.diff(times)
    return bool(((next_server > 0) | ((next_server == 0) & (later >= 0))).all())


# long: a third is its docstring; each argument is refused where it is first used
def open_history(
    data_path: Path | str,
    incidents_path: Path | str | None = None,
    *,
    servers: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    split_at: datetime | None = None,
    train_fraction: float = 0.5,
    by_fraction: bool = False,
    declared: Sequence[Metric] = DEFAULT_METRICS,
) -> History:
    """Open and validate a history; the metric values stay on disk until asked for.

    Args:
        data_path: The parquet file, or a folder of parquet files of one shape.
        incidents_path: The incidents CSV; None when nothing is labelled.
        servers: Only these; None for all.
        start: Leave out what is earlier; None for the beginning. Times without a zone are UTC.
        end: Leave out what is later (inclusive); None for the end.
        split_at: Test rows are those from here on. Without it a `split` column (train, then test, per server)
            decides, and without that `train_fraction` of the chosen time range; of each server's own range where
            the servers are series that hardly share a time.
        train_fraction: In (0, 1).
        by_fraction: The fraction decides even where there is a `split` column.
        declared: What is known of metrics; nothing is of a column that is not among them.

    Raises:
        UsageError: The files or arguments cannot be used; one line says value, field, what is expected.
    """
    if not 0.0 < train_fraction < 1.0:
        raise UsageError(f"train fraction is {train_fraction}, expected a number between 0 and 1")
    path = Path(data_path)
    start_ms = -(2**62) if start is None else _utc_ms(start)
    end_ms = 2**62 if end is None else _utc_ms(end)
    if end_ms < start_ms:
        raise UsageError(f"the end {iso(end_ms)} is before the start {iso(start_ms)}: swap them")
    source = HistoryFile(path)
    everyone = source.scan()
    if not everyone:
        raise UsageError(f"{path} holds no rows; expected observations of at least one server")
    names = tuple(sorted(everyone))
    if servers is not None:
        unknown = sorted(set(servers) - set(names))
        if unknown:
            raise UsageError(_unknown_servers(unknown, names, path))
        if not servers:
            raise UsageError("the list of servers is empty; name at least one, or leave it out for all")
    chosen = {n: everyone[n].between(start_ms, end_ms) for n in sorted(set(servers or names))}
    chosen = {n: facts for n, facts in chosen.items() if len(facts)}
    if not chosen:
        first, last = min(f.first for f in everyone.values()), max(f.last for f in everyone.values())
        raise UsageError(
            f"{path} has no rows of the chosen servers between {_bound(start_ms)} and {_bound(end_ms)}; "
            f"it covers {iso(first)} to {iso(last)}"
        )
    test_starts, split_by = _split(chosen, path, split_at, train_fraction, source, by_fraction)
    labels = (
        read_incidents(Path(incidents_path), servers=names, data_path=path, is_series=source.is_series)
        if incidents_path
        else []
    )
    return History(
        path=path,
        metrics=source.metrics,
        servers=tuple(chosen),
        rows={
            n: ServerRows(first_ms=f.first, last_ms=f.last, rows=len(f), test_start_ms=test_starts[n])
            for n, f in chosen.items()
        },
        step_s=_step_s(chosen.values()),
        incidents=tuple(x for x in labels if x.server_id in chosen and x.end_ms >= start_ms and x.start_ms <= end_ms),
        split_by=split_by,
        protocol=NAB_WINDOWS if source.is_series else STANDARD,
        declared=tuple(declared),
        _file=source,
    )


def _utc_ms(moment: datetime) -> int:
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _bound(ms: int) -> str:
    return "any time" if abs(ms) == 2**62 else iso(ms)


def _unknown_servers(unknown: Sequence[str], known: Collection[str], path: Path) -> str:
    shown = ", ".join(sorted(known)[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
    return f"server {', '.join(unknown)} is not in {path}; it has {shown}"


def _step_s(servers: Collection[ServerTimes]) -> float:
    """The median time between neighbouring rows of a server (s); 60 where no server has two rows."""
    counts: dict[int, int] = {}
    for server in servers:  # counted, not collected: a fleet's months have 100 million steps of few lengths
        lengths, times = np.unique(np.diff(server.times), return_counts=True)
        for length, count in zip(lengths.tolist(), times.tolist(), strict=True):
            counts[length] = counts.get(length, 0) + count
    if not counts:
        return 60.0
    lengths = np.array(sorted(counts))
    upto = np.cumsum([counts[length] for length in lengths.tolist()])
    middle = np.searchsorted(upto, [(upto[-1] - 1) // 2, upto[-1] // 2], side="right")
    return float(lengths[middle].mean()) / 1000


def _split(
    servers: Mapping[str, ServerTimes],
    path: Path,
    split_at: datetime | None,
    train_fraction: float,
    source: HistoryFile,
    by_fraction: bool,
) -> tuple[dict[str, int], str]:
    """Where each server's test part begins (ms), and what decided it."""
    first, last = min(s.first for s in servers.values()), max(s.last for s in servers.values())
    if split_at is not None:
        at_ms = _utc_ms(split_at)
        if not first < at_ms <= last:
            raise UsageError(
                f"the split {iso(at_ms)} leaves no rows on one side; {path} covers {iso(first)} to {iso(last)}"
            )
        return dict.fromkeys(servers, at_ms), "date"
    if source.has_split and not by_fraction:
        return {n: s.last + 1 if s.test_start_ms is None else s.test_start_ms for n, s in servers.items()}, "column"
    longest = max(s.last - s.first for s in servers.values())
    if source.is_series or last - first > 2 * longest:
        return {
            n: s.first + int((s.last - s.first) * train_fraction) + 1 for n, s in servers.items()
        }, "fraction of each server"
    return dict.fromkeys(servers, first + int((last - first) * train_fraction) + 1), "fraction"
