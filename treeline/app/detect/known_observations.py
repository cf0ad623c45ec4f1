"""Which observations have been decided already, and which came too late to be decided. Every tick reads some again.

A state holds the times of each server's last 32 observations. An observation older than all of these was either decided
when it came, or came too late: after later observations of its server had been decided. The times of receipt tell which
of the two: one that was received before all the later ones was decided when it came.
"""

from collections import OrderedDict
from collections.abc import Iterable

from treeline.app.detect.retirement import receipts_of_before
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER

Key = tuple[str, int]  # server_id, observed_at in milliseconds
_REMEMBERED = 20_000


class KnownObservations:
    """Is asked about each of a group's observations once, in event-time order, while they are read.

    Attributes:
        out_of_turn: Observations older than those times that were received after a later one of their server. They came
            too late, or were decided so long ago that the state no longer holds their time: the scores table knows.
    """

    def __init__(self, state: FleetState, package: ModelPackage) -> None:
        self.out_of_turn: list[Key] = []
        self._last: dict[str, int] = {}
        self._seen: dict[str, set[int]] = {}
        self._oldest: dict[str, int] = {}
        self._package = package
        self._own = set(state.servers)
        self._of_retired = receipts_of_before(state)
        self._note(state)
        self._in_turn: dict[str, list[tuple[str, int]]] = {}  # by server: receipt and event time, ascending in both

    def _note(self, state: FleetState) -> None:
        """What a state says of its servers."""
        for server, last, seen in zip(state.servers, state.last_at.tolist(), state.seen_at.tolist(), strict=True):
            self._last[server], self._seen[server], self._oldest[server] = last, set(seen), min(seen)

    def _note_seed(self, server: str) -> None:
        """What the model's training saw of a server that has no state yet; nothing of one that it has not met."""
        self._last[server], self._seen[server], self._oldest[server] = NEVER, set(), NEVER
        self._package.fetch([server])
        row = self._package.seeds.rows().get(server)
        if row is not None:
            self._note(self._package.seeds.part(slice(row, row + 1)))

    def has(self, server: str, observed_at: int, received_at: str) -> bool:
        """Whether the observation was decided, is too old to be told from one that was, or is of a retired server.

        `observed_at` (ms) is not before that of the last call for this server; `received_at` is ISO, compared as text.
        """
        if received_at <= self._of_retired.get(server, ""):
            return True
        if server not in self._last:
            self._note_seed(server)
        last = self._last[server]
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
