"""Which rows the forest learns from: an equal share of every server's, so that no long history outvotes a short one."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from treeline.core.detection.features import TRAILING_S

Rows = NDArray[np.float32]
ROWS_PER_SERVER = 2500
SETTLED_S = 0.1 * TRAILING_S  # the averages need a while before their features mean anything
_ROWS_WAITING = 200_000


class Draw(StrEnum):
    """Two ways to draw the same share; see docs/decisions/0112-one-preparation.md for why there are two."""

    FROM_KEPT = "kept"  # from the rows kept for calibration, once all have been seen
    FROM_ALL = "all"  # from every row as it passes, of a history longer than what is kept


def drawn(kept: Rows, step_s: float, seed: int) -> Rows:
    """A share of each server's settled rows, drawn where all of them are at hand: kept (times, servers, features)."""
    rows = kept[min(int(SETTLED_S / step_s), len(kept) // 2) :]
    rng = np.random.default_rng(seed)
    chosen = []
    for server in range(rows.shape[1]):
        own = rows[:, server]
        own = own[~np.isnan(own[:, 0])]
        chosen.append(
            own if len(own) <= ROWS_PER_SERVER else own[np.sort(rng.choice(len(own), ROWS_PER_SERVER, False))]
        )
    return np.concatenate(chosen)


class ServerSamples:
    """A uniform sample without replacement of each server's rows, of one size, however the stream is cut."""

    def __init__(self, servers: int, size: int, width: int, rng: np.random.Generator) -> None:
        self._size, self._width, self._rng = size, width, rng
        self._keys: list[NDArray[np.float64]] = [np.empty(0)] * servers
        self._rows: list[Rows | None] = [None] * servers
        self._waiting: list[tuple[NDArray[np.intp], Rows]] = []
        self._waiting_count = 0

    def offer(self, servers: NDArray[np.intp], rows: Rows) -> None:
        """Offer rows; `servers` names the server of each."""
        self._waiting.append((servers, rows))
        self._waiting_count += len(rows)
        if self._waiting_count >= _ROWS_WAITING:
            self._choose()

    def rows(self) -> Rows:
        """All samples, server by server, each in order of arrival."""
        self._choose()
        kept = [rows for rows in self._rows if rows is not None]
        return np.concatenate(kept) if kept else np.empty((0, self._width), dtype=np.float32)

    def _choose(self) -> None:
        """Choose among the chosen and the waiting ones; many at once are far cheaper than one time after the other."""
        if not self._waiting:
            return
        servers, rows = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._waiting_count = [], 0
        order = np.argsort(servers, kind="stable")
        keys = self._rng.random(len(rows))
        borders = np.searchsorted(servers[order], np.arange(len(self._keys) + 1))
        for server in np.unique(servers).tolist():
            own = order[borders[server] : borders[server + 1]]
            self._choose_of(server, keys[own], rows[own])

    def _choose_of(self, server: int, keys: NDArray[np.float64], rows: Rows) -> None:
        """The rows with the smallest random keys are the sample."""
        before = self._rows[server]
        keys = np.concatenate([self._keys[server], keys])
        rows = rows if before is None else np.concatenate([before, rows])
        if len(keys) > self._size:
            chosen = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            keys, rows = keys[chosen], rows[chosen]
        self._keys[server], self._rows[server] = keys, rows
