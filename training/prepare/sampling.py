"""Which rows the forest learns from: an equal share of every server's, so that no long history outvotes a short one."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
ROWS_PER_SERVER = 2500
_ROWS_WAITING = 200_000


def drawn(kept: Rows, learned: NDArray[np.bool_], seed: int) -> Rows:
    """A share of each server's rows, of the later half of its past: a young season says little of what is far.

    Args:
        kept: Shape (times, servers, features).
        learned: Which of them may be drawn, shape (times, servers).
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for server in range(kept.shape[1]):
        own = np.flatnonzero(learned[:, server])
        own = own[min(len(own) // 2, max(len(own) - ROWS_PER_SERVER, 0)) :]
        if len(own) > ROWS_PER_SERVER:
            own = own[np.sort(rng.choice(len(own), ROWS_PER_SERVER, False))]
        chosen.append(kept[own, server])
    return np.concatenate(chosen)


def with_typical(rows: Rows, unknown: NDArray[np.bool_], seed: int) -> Rows:
    """Rows in which metrics that no server reported vary as metrics usually do.

    The forest would find such a metric infinitely strange once it comes.

    Args:
        rows: Shape (n, 2 * metrics); changed.
        unknown: The metrics that are meant, shape (metrics,).
        seed: Of the values.
    """
    columns = np.flatnonzero(np.tile(unknown, 2))
    rows[:, columns] = np.random.default_rng([seed, 3]).normal(size=(len(rows), len(columns)))
    return rows


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
