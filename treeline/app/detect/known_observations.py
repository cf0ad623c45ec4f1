"""Which of the observations that are read again and again have been decided before, and which came too late for it.

A state remembers the times of each server's last observations. An earlier one was decided, or, if it came after
later ones of its server had been, can no longer be: it is *too late*. The order of receipt tells the two apart: what
was received before everything that follows it was decided in its turn.
"""

from collections import OrderedDict
from collections.abc import Iterable

from treeline.core.state.fleet import FleetState

Key = tuple[str, int]  # server_id, observed_at in milliseconds
_REMEMBERED = 20_000


class KnownObservations:
    """Goes through a group's observations in event-time order, as they are read, once.

    Attributes:
        out_of_turn: Observations older than what the state remembers that were received after a later one of their
            server. They are too late, unless they were decided before and then forgotten.
    """

    def __init__(self, state: FleetState, seeds: FleetState) -> None:
        self.out_of_turn: list[Key] = []
        self._last: dict[str, int] = {}
        self._seen: dict[str, set[int]] = {}
        for source in (seeds, state):  # a server's seed is what it starts from; its state, once there, what counts
            self._last.update(zip(source.servers, source.last_at.tolist(), strict=True))
            self._seen.update(zip(source.servers, map(set, source.seen_at.tolist()), strict=True))
        self._oldest = {server: min(times) for server, times in self._seen.items()}
        self._own = set(state.servers)
        self._in_turn: dict[str, list[tuple[str, int]]] = {}  # receipt and time, so far in order of both

    def has(self, server: str, observed_at: int, received_at: str) -> bool:
        """Whether the observation was decided, or is too old to be told from one that was.

        Args:
            server: The server's id.
            observed_at: Milliseconds; not before that of the last call for this server.
            received_at: ISO, of fixed width: compared as text.
        """
        last = self._last.get(server)
        if last is None:
            return False
        earlier = self._in_turn.get(server)
        while earlier and earlier[-1][0] > received_at:
            self.out_of_turn.append((server, earlier.pop()[1]))
        if observed_at > last:
            return False
        if observed_at in self._seen[server]:
            return True
        if observed_at > self._oldest[server]:
            return False
        if server in self._own:
            self._in_turn.setdefault(server, []).append((received_at, observed_at))
        return True


class JudgedObservations:
    """Observations out of turn that this worker knows to be accounted for, so that it asks the table once."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[int, str, int], None] = OrderedDict()

    def unknown(self, group: int, keys: Iterable[Key]) -> list[Key]:
        """Those that have to be looked up, in event-time order."""
        return sorted({key for key in keys if (group, *key) not in self._keys}, key=lambda key: (key[1], key[0]))

    def add(self, group: int, keys: Iterable[Key]) -> None:
        """Remember them; the oldest are forgotten."""
        for key in keys:
            self._keys[(group, *key)] = None
        while len(self._keys) > _REMEMBERED:
            self._keys.popitem(last=False)
