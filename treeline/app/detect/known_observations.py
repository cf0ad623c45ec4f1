"""Which observations have been decided already, and which came too late to be decided. Every tick reads some again.

A state holds the times of each server's last 32 observations. An observation older than all of these was either decided
when it came, or came too late: after later observations of its server had been decided. The times of receipt tell which
of the two: one that was received before all the later ones was decided when it came.
"""

from collections import OrderedDict
from collections.abc import Iterable

from treeline.core.state.fleet import FleetState

Key = tuple[str, int]  # server_id, observed_at in milliseconds
_REMEMBERED = 20_000


class KnownObservations:
    """Is asked about each of a group's observations once, in event-time order, while they are read.

    Attributes:
        out_of_turn: Observations older than those times that were received after a later one of their server. They came
            too late, or were decided so long ago that the state no longer holds their time: the scores table knows.
    """

    def __init__(self, state: FleetState, seeds: FleetState) -> None:
        self.out_of_turn: list[Key] = []
        self._last: dict[str, int] = {}
        self._seen: dict[str, set[int]] = {}
        for source in (seeds, state):  # a server that has a state no longer needs its seed
            self._last.update(zip(source.servers, source.last_at.tolist(), strict=True))
            self._seen.update(zip(source.servers, map(set, source.seen_at.tolist()), strict=True))
        self._oldest = {server: min(times) for server, times in self._seen.items()}
        self._own = set(state.servers)
        self._in_turn: dict[str, list[tuple[str, int]]] = {}  # by server: receipt and event time, ascending in both

    def has(self, server: str, observed_at: int, received_at: str) -> bool:
        """Whether the observation was decided, or is too old to be told from one that was.

        `observed_at` (ms) is not before that of the last call for this server; `received_at` is ISO, compared as text.
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
    """Observations out of turn that this worker has looked up in the scores table before."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[int, str, int], None] = OrderedDict()

    def unknown(self, group: int, keys: Iterable[Key]) -> list[Key]:
        """Those not looked up yet, in event-time order."""
        return sorted({key for key in keys if (group, *key) not in self._keys}, key=lambda key: (key[1], key[0]))

    def add(self, group: int, keys: Iterable[Key]) -> None:
        """Remember them; the oldest are forgotten."""
        for key in keys:
            self._keys[(group, *key)] = None
        while len(self._keys) > _REMEMBERED:
            self._keys.popitem(last=False)
