"""The parquet side of a history: its columns checked, its rows read with filters pushed to the file.

A file in *series form* (the Numenta Anomaly Benchmark's: `series, timestamp, value[, point, window]`) is read as a
fleet of servers with one metric each; of rows with one time the last counts, as some of its series repeat an hour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from treeline.core.errors import UsageError

TIME, SERVER, SPLIT, LABEL = "timestamp", "server_id", "split", "label"
SERIES = "series"  # stands in the place of server_id in a file in series form
SERIES_MARKS = ("point", "window")  # labels on the rows; the incidents file says the same
SHAPE = "timestamp, server_id, one column a metric[, split][, label]"
_LEAST_EVEN = 32  # rows a range must stand for on average; below, an array takes less room
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """A stretch of the history; in event-time order (ties by server_id) where `History` hands it out."""

    times_ms: NDArray[np.int64]  # (rows,)
    servers: NDArray[np.int32]  # (rows,) index into the servers asked for
    values: NDArray[np.float32]  # (rows, metrics); NaN: missing

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "HistoryWindow":
        """These rows, in this order."""
        return HistoryWindow(self.times_ms[rows], self.servers[rows], self.values[rows])


Times = NDArray[np.int64]
Packed = range | NDArray[np.int32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """One server's row times (sorted) and the first ms of its test part by the `split` column, if there is one.

    A fleet's months are 100 million times: an even stretch is kept as a range, see `packed`.
    """

    parts: tuple[Packed, ...]
    test_start_ms: int | None

    def __len__(self) -> int:
        """Rows."""
        return sum(len(part) for part in self.parts)

    @property
    def times(self) -> Times:
        """The rows' ms, made anew at each call."""
        return unpacked(self.parts)

    @property
    def first(self) -> int:
        """The first row's ms."""
        return int(unpacked([self.parts[0][:1]])[0])

    @property
    def last(self) -> int:
        """The last row's ms."""
        return int(unpacked([self.parts[-1][-1:]])[0])

    def between(self, start_ms: int, end_ms: int) -> "ServerTimes":
        """Only the rows of [start_ms, end_ms]."""
        times = self.times
        low, high = np.searchsorted(times, start_ms), np.searchsorted(times, end_ms, side="right")
        if high - low == len(times):
            return self
        return ServerTimes(packed(times[low:high]), self.test_start_ms)


def packed(times_ms: Times) -> tuple[Packed, ...]:
    """Times in little room: even stretches as ranges of milliseconds, else whole seconds (to 2038) as int32.

    What one batch of a file holds may be packed by itself, and the packed parts of all batches once more: an even
    stretch is one range again, however many batches it came in.
    """
    if not len(times_ms):
        return ()
    steps = np.diff(times_ms)
    borders = np.flatnonzero(np.diff(steps) != 0) + 1  # of stretches of one step, as positions in `steps`
    # Around a gap there are two borders: what stands between them is a range of one.
    if len(times_ms) > 1 and steps.min() > 0 and len(borders) * _LEAST_EVEN <= len(times_ms):
        edges = [0, *(borders + 1).tolist(), len(times_ms)]
        return tuple(_even(times_ms[low:high]) for low, high in pairwise(edges))
    seconds = times_ms // 1000
    if (seconds * 1000 == times_ms).all() and (np.abs(seconds) < 2**31).all():
        return (seconds.astype(np.int32),)
    return (times_ms,)


def _even(times_ms: Times) -> range:
    first, step = int(times_ms[0]), int(times_ms[1] - times_ms[0]) if len(times_ms) > 1 else 1
    return range(first, first + step * len(times_ms), step)


def unpacked(parts: Iterable[Packed]) -> Times:
    """Milliseconds of what `packed` gave."""
    arrays = [_unpacked(part) for part in parts]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)


def _unpacked(part: Packed) -> Times:
    if isinstance(part, range):
        return np.arange(part.start, part.stop, part.step, dtype=np.int64)
    return part.astype(np.int64) * 1000 if part.dtype == np.int32 else part.astype(np.int64, copy=False)


class HistoryFile:
    """A parquet file (or folder of them) in the history format; raises UsageError where it is not."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UsageError(f"history file {path} does not exist; expected a parquet file: {SHAPE}")
        try:
            self._data = ds.dataset(path, format="parquet")
        except (pa.ArrowInvalid, OSError) as error:
            raise UsageError(f"{path} is not a readable parquet file; expected one with columns {SHAPE}") from error
        self.path = path
        columns = {f.name: f.type for f in self._data.schema if not f.name.startswith("__index_level_")}
        self.is_series = SERVER not in columns and SERIES in columns
        self._server = SERIES if self.is_series else SERVER
        missing = [c for c in (TIME, self._server) if c not in columns]
        if missing:
            found = ", ".join(columns) or "none"
            raise UsageError(
                f"{path} has no column {' and no column '.join(missing)}; it has {found}; expected {SHAPE}"
            )
        marks = SERIES_MARKS if self.is_series else ()
        self.metrics = tuple(c for c in columns if c not in (TIME, self._server, SPLIT, LABEL, *marks))
        if not self.metrics:
            raise UsageError(f"{path} has no metric column; expected {SHAPE}")
        for name in self.metrics:
            if not (pa.types.is_floating(columns[name]) or pa.types.is_integer(columns[name])):
                raise UsageError(f"{path}: column {name} holds {columns[name]}, expected numbers; convert or remove it")
        self.has_split = SPLIT in columns
        self._time_type = columns[TIME]
        if not (pa.types.is_timestamp(self._time_type) or _is_text(self._time_type)):
            raise UsageError(
                f"{path}: column timestamp holds {self._time_type}, expected timestamps (or ISO 8601 text)"
            )

    def scan(self) -> dict[str, ServerTimes]:
        """Every server's row times, in one pass over the key columns."""
        parts: dict[str, list[Packed]] = {}
        tests: dict[str, list[NDArray[np.bool_]]] = {}
        columns = [TIME, self._server, SPLIT] if self.has_split else [TIME, self._server]
        for batch in self._data.to_batches(columns=columns):
            if not batch.num_rows:
                continue
            times = self._times_ms(batch.column(0))
            encoded = pc.dictionary_encode(self._names(batch.column(1)))
            codes = encoded.indices.to_numpy()
            test = self._is_test(batch.column(2)) if self.has_split else None
            order = np.argsort(codes, kind="stable")
            borders = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
            for i, name in enumerate(encoded.dictionary.to_pylist()):
                mine = order[borders[i] : borders[i + 1]]
                parts.setdefault(name, []).extend(packed(times[mine]))
                if test is not None:
                    tests.setdefault(name, []).append(test[mine])
        return {name: self._server_times(name, parts.pop(name), tests.pop(name, None)) for name in list(parts)}

    def read(self, servers: Sequence[str], metrics: Sequence[str], start_ms: int, end_ms: int) -> HistoryWindow:
        """The rows of these servers in [start_ms, end_ms], in file order."""
        known = pa.array(servers, pa.string())
        keep = None
        if pa.types.is_timestamp(self._time_type):
            # Bounds in the column's own unit, so that the file's statistics can skip row groups.
            unit = _PER_SECOND[self._time_type.unit]
            low, high = -(-start_ms * unit // 1000), ((end_ms + 1) * unit - 1) // 1000
            keep = (pc.field(TIME) >= pa.scalar(low, self._time_type)) & (
                pc.field(TIME) <= pa.scalar(high, self._time_type)
            )
        named = pc.field(self._server)
        if self._data.schema.field(self._server).type != pa.string():  # a cast costs as much as reading
            named = named.cast(pa.string())
        named = named.isin(known)
        table = self._data.to_table(
            columns=[TIME, self._server, *metrics], filter=named if keep is None else keep & named
        )
        times = self._times_ms(table.column(0))
        codes = pc.index_in(table.column(1).cast(pa.string()), value_set=known).to_numpy().astype(np.int32)
        values = np.empty((table.num_rows, len(metrics)), dtype=np.float32)
        for i, name in enumerate(metrics):
            column = table.column(name).cast(pa.float32(), safe=False)
            values[:, i] = column.to_numpy()  # a null becomes NaN
        window = HistoryWindow(times, codes, values)
        if keep is None:
            window = window.take((times >= start_ms) & (times <= end_ms))
        return _last_of_each_time(window) if self.is_series else window

    def _server_times(
        self, name: str, parts: Iterable[Packed], tests: Iterable[NDArray[np.bool_]] | None
    ) -> ServerTimes:
        times = unpacked(parts)
        test_start = None
        if tests is not None:
            test = np.concatenate(list(tests))
            test_start = int(times[test].min()) if test.any() else int(times.max()) + 1
            if (~test).any() and int(times[~test].max()) >= test_start:
                raise UsageError(
                    f"{self.path}: column split of {name} has train rows after its first test row; "
                    "expected all train rows first"
                )
        if np.any(np.diff(times) < 0):
            times = np.sort(times)
        return ServerTimes(packed(np.unique(times) if self.is_series else times), test_start)

    def _times_ms(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        if column.null_count:
            raise UsageError(f"{self.path}: column timestamp is empty in {column.null_count} rows; remove them")
        if pa.types.is_timestamp(column.type):
            milliseconds = column.cast(pa.timestamp("ms", column.type.tz), safe=False)
            return np.asarray(milliseconds.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)
        text = column.cast(pa.string()).to_pandas()
        parsed = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
        if parsed.isna().any():
            raise UsageError(
                f"{self.path}: column timestamp holds {text[parsed.isna()].iloc[0]!r}, expected ISO 8601 "
                "such as 2026-11-22T15:58:30Z"
            )
        return np.asarray(parsed.dt.as_unit("ms").astype("int64").to_numpy(), dtype=np.int64)

    def _names(self, column: pa.Array) -> pa.Array:
        names = column.cast(pa.string())
        empty = names.null_count + (pc.sum(pc.equal(names, "")).as_py() or 0)
        if empty:
            raise UsageError(f"{self.path}: column {self._server} is empty in {empty} rows; name or remove them")
        return names

    def _is_test(self, column: pa.Array) -> NDArray[np.bool_]:
        names = column.cast(pa.string())
        odd = pc.invert(pc.is_in(names, value_set=pa.array(["train", "test"])))
        if pc.any(odd).as_py():
            value = names.filter(odd)[0].as_py()
            raise UsageError(f"{self.path}: column split holds {value!r}, expected 'train' or 'test'")
        return np.asarray(pc.equal(names, "test").to_numpy(zero_copy_only=False), dtype=bool)


def _last_of_each_time(window: HistoryWindow) -> HistoryWindow:
    """Of rows of one server and time, the one that stands last."""
    order = np.lexsort((np.arange(len(window.times_ms)), window.times_ms, window.servers))
    times, servers = window.times_ms[order], window.servers[order]
    last = np.append((np.diff(times) != 0) | (np.diff(servers) != 0), True)[: len(order)]
    return window.take(np.sort(order[last]))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
