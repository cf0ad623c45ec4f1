"""A history as one dense array on one time axis."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from training.history.files import History, Part, Times, Values
from training.history.observed import ObservedTimes
from training.processes import shares
from treeline.core.errors import UsageError
from treeline.core.expectation.local_time import Zones
from treeline.core.limits import MetricLimits
from treeline.core.profile import Metric, declared
from treeline.core.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Grid:
    """A fleet's history on one time axis: `values` (times, servers, metrics) float32, NaN where missing."""

    times_ms: npt.NDArray[np.int64]
    servers: tuple[str, ...]
    metrics: tuple[str, ...]
    values: npt.NDArray[np.float32]
    step_s: float
    zones: Zones = field(default_factory=Zones)  # by whose clocks the servers keep their habits
    metric_declarations: tuple[Metric, ...] = ()  # in the order of the metrics; none: as `declared` has them by name

    @property
    def start_ms(self) -> int:
        """The first time."""
        return int(self.times_ms[0])

    @property
    def end_ms(self) -> int:
        """The last time."""
        return int(self.times_ms[-1])

    @property
    def most_times(self) -> int:
        """How many times there are."""
        return len(self.times_ms)

    @property
    def declarations(self) -> tuple[Metric, ...]:
        """What is declared of the metrics, in their order."""
        return self.metric_declarations or declared(self.metrics)

    @property
    def limits(self) -> MetricLimits:
        """What is declared of the metrics, as arrays."""
        return MetricLimits.of(self.declarations)

    def windows(self) -> Iterator["Grid"]:
        """All of it at once, where a history in files comes a window at a time."""
        yield self

    def of_server(self, row: int) -> "Grid":
        """One server's part, a view."""
        return self.of_servers(slice(row, row + 1))

    def shares(self, workers: int) -> list["Grid"]:
        """Neighbouring servers' parts of nearly equal size, no more than one a server; views."""
        return [self.of_servers(share) for share in shares(len(self.servers), workers)]

    def of_servers(self, share: slice) -> "Grid":
        """Some neighbouring servers' part, a view."""
        return replace(self, servers=self.servers[share], values=self.values[:, share])

    def present(self) -> npt.NDArray[np.bool_]:
        """Which server reported anything at which time, shape (times, servers)."""
        return np.logical_not(np.isnan(self.values).all(axis=2))

    def observed(self) -> dict[str, ObservedTimes]:
        """When each server reported anything; servers that never did are absent."""
        present = self.present()
        times = {server: self.times_ms[present[:, row]] for row, server in enumerate(self.servers)}
        return {server: ObservedTimes(each) for server, each in times.items() if len(each)}

    def rounds(self, start: int = 0) -> Iterator[tuple[int, npt.NDArray[np.intp], FloatArray]]:
        """Each time from position `start` on with the servers present and their values."""
        present = self.present()
        for t in range(start, len(self.times_ms)):
            rows = np.flatnonzero(present[t])
            if len(rows):
                yield t, rows, self.values[t, rows]


Column = tuple[Times, Values]  # one server's times and values


def grid_of(history: History, *, part: Part = "all", start_ms: int | None = None, end_ms: int | None = None) -> Grid:
    """Align a part of a history on the times that occur in it.

    Servers that report at times of their own (many more distinct times than steps) are put on the sampling step's
    raster, the last value in each step.

    Raises:
        UsageError: The part holds no rows.
    """
    first = history.start_ms if start_ms is None else start_ms
    last = history.end_ms if end_ms is None else end_ms
    columns = []
    for server in history.servers:
        times, values = history.matrix(server, part=part)
        inside = (times >= first) & (times <= last)
        columns.append((times[inside], values[inside]))
    return _aligned(history, columns, part)


def both_grids(history: History) -> tuple[Grid, Grid]:
    """The train and the test part, as `grid_of` gives them, in one pass over the file.

    Raises:
        UsageError: One of them holds no rows.
    """
    train, test = [], []
    for server in history.servers:
        train.append(_copied(history.matrix(server, part="train")))
        test.append(_copied(history.matrix(server, part="test")))
    past = _aligned(history, train, "train")
    train.clear()
    return past, _aligned(history, test, "test")


def _copied(column: Column) -> Column:
    """Apart from the block it was read with, which may then be freed."""
    return column[0].copy(), column[1].copy()


def _aligned(history: History, columns: Sequence[Column], part: Part) -> Grid:
    every = _union(columns)
    if not len(every):
        raise UsageError(f"{history.path} has no rows for {part} in the chosen range")
    step_ms = round(history.step_s * 1000)
    if len(every) > 2 * ((every[-1] - every[0]) // step_ms + 1):
        columns = [(times // step_ms * step_ms, values) for times, values in columns]
        every = _union(columns)
    dense = np.full((len(every), len(history.servers), len(history.metrics)), np.nan, dtype=np.float32)
    for column, (times, values) in enumerate(columns):
        dense[np.searchsorted(every, times), column] = values
    return Grid(
        every.astype(np.int64),
        history.servers,
        history.metrics,
        dense,
        history.step_s,
        metric_declarations=history.metric_declarations,
    )


def _union(columns: Sequence[Column]) -> Times:
    """Every time that occurs; servers mostly share theirs, so equal columns are looked at once."""
    distinct = {times.tobytes(): times for times, _ in columns}
    return np.unique(np.concatenate(list(distinct.values())))
