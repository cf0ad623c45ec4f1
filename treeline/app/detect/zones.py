"""Which time zone each server is in: what its label `timezone` says, else the stage's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from treeline.app.alert.controls import ServerLabels
from treeline.core.expectation.local_time import Zones
from treeline.core.times import DEFAULT_ZONE, is_zone

LABEL = "timezone"
KEPT_MS = 86_400_000  # a changed label counts from the next day on: reading each at each commit would cost more


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerZones:
    """Remembers what the labels said."""

    default: str = DEFAULT_ZONE
    labels: ServerLabels | None = None  # None: none are known
    clock_ms: Callable[[], int] = lambda: 0
    on_unknown: Callable[[str, str], None] = lambda server_id, name: None  # told of a label that is no zone
    _read: dict[str, tuple[int, str]] = field(default_factory=dict)  # when a server's label was read, and its zone

    def of(self, servers: Sequence[str]) -> Zones:
        """The zones of some servers."""
        if self.labels is None:
            return Zones(self.default)
        return Zones(self.default, {server: self._zone(self.labels, server) for server in servers})

    def _zone(self, labels: ServerLabels, server_id: str) -> str:
        now = self.clock_ms()
        read_ms, zone = self._read.get(server_id, (now - KEPT_MS, ""))
        if now - read_ms >= KEPT_MS:
            zone = labels.of(server_id).get(LABEL, self.default)
            if not is_zone(zone):
                self.on_unknown(server_id, zone)
                zone = self.default
            self._read[server_id] = (now, zone)
        return zone
