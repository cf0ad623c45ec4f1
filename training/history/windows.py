"""A history in files as dense grids, a window or a server at a time: what is held does not grow with its length."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from training.history.files import History
from training.history.grid import Grid
from treeline.core.expectation.local_time import Zones

WINDOW_VALUES = 4_000_000  # held at once a few times over


@dataclass(frozen=True, slots=True)
class FileWindows:
    """A history on its step's raster; of two values of a server in one step the later one counts."""

    history: History
    step_s: float
    # About as many rows make a window; None for as many as fit, by the number of metrics.
    window_rows: int | None = None
    zones: Zones = field(default_factory=Zones)  # by whose clocks the servers keep their habits

    @property
    def servers(self) -> tuple[str, ...]:
        """Names, sorted."""
        return self.history.servers

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names, in order of the columns."""
        return self.history.metrics

    @property
    def start_ms(self) -> int:
        """The first row's own time."""
        return self.history.start_ms

    @property
    def end_ms(self) -> int:
        """The last row's own time."""
        return self.history.end_ms

    @property
    def most_times(self) -> int:
        """How many steps there are from the first row to the last, observed or not."""
        return self.end_ms // self._step_ms - self.start_ms // self._step_ms + 1

    @property
    def _step_ms(self) -> int:
        return round(self.step_s * 1000)

    def of_server(self, row: int) -> Grid:
        """One server at its own times. Cheapest in the order of `servers`: a block of neighbours is read at once."""
        return replace(server_grid(self.history, self.servers[row], self.step_s), zones=self.zones)

    def shares(self, workers: int) -> list["FileWindows"]:
        """All of it: files are read by one process, whatever `workers` says."""
        return [self]

    def windows(self) -> Iterator[Grid]:
        """The whole fleet in time order."""
        rows = self.window_rows or max(1, WINDOW_VALUES // len(self.metrics))
        for window in self.history.windows(rows=rows, align_ms=self._step_ms):
            at = window.times_ms // self._step_ms * self._step_ms
            times, position = np.unique(at, return_inverse=True)
            values = np.full((len(times), len(self.servers), len(self.metrics)), np.nan, dtype=np.float32)
            values[position, window.servers] = window.values
            declarations = self.history.metric_declarations
            yield Grid(times, self.servers, self.metrics, values, self.step_s, self.zones, declarations)


def server_grid(history: History, server: str, step_s: float) -> Grid:
    """One server of a history at its own times."""
    times, values = history.matrix(server)
    declarations = history.metric_declarations
    return Grid(times, (server,), history.metrics, values[:, None, :], step_s, metric_declarations=declarations)
