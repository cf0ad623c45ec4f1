"""What people tell Treeline about its incidents: mutes, maintenance windows, and labels saying what an incident was.

All three are items of the controls table. A mute or a maintenance window suppresses alerts of what it covers, in event
time; training and drift also leave the hours of a maintenance window out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Protocol

from treeline.core.errors import UsageError
from treeline.core.times import iso


class ControlKind(StrEnum):
    """The `kind` under which an item is stored."""

    MUTE = "mute"
    MAINTENANCE = "maintenance"
    LABEL = "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which servers are meant: one of the three is set."""

    server: str = ""  # a server_id, or a pattern with `*` and `?`
    labels: Mapping[str, str] = field(default_factory=dict)  # labels a server must have, all of them
    fleet: bool = False  # every server, and the incidents that the servers share

    def __post_init__(self) -> None:
        """Exactly one of the three."""
        if [bool(self.server), bool(self.labels), self.fleet].count(True) != 1:
            raise UsageError("name what is meant: a server, labels, or the whole fleet, and only one of them")

    def covers(self, server_id: str, labels: Mapping[str, str]) -> bool:
        """Whether a server is meant."""
        if self.fleet:
            return True
        if self.server:
            return fnmatchcase(server_id, self.server)
        return all(labels.get(name) == value for name, value in self.labels.items())

    def __str__(self) -> str:
        """As people read it."""
        if self.fleet:
            return "fleet"
        return self.server or ",".join(f"{name}={value}" for name, value in sorted(self.labels.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A mute or a maintenance window, in force from `starts_ms` up to but not including `until_ms` (event time)."""

    kind: ControlKind
    id: str
    scope: Scope
    starts_ms: int
    until_ms: int
    reason: str
    by: str
    created_ms: int

    def __post_init__(self) -> None:
        """Check the order of its times."""
        if self.until_ms <= self.starts_ms:
            raise UsageError(f"it would end ({iso(self.until_ms)}) before it starts ({iso(self.starts_ms)})")

    def covers(self, server_id: str, labels: Mapping[str, str], at_ms: int) -> bool:
        """Whether it is in force for a server at an event time."""
        return self.starts_ms <= at_ms < self.until_ms and self.scope.covers(server_id, labels)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.kind.value,
            "id": self.id,
            "scope": "fleet" if self.scope.fleet else "server" if self.scope.server else "labels",
            "server_id": self.scope.server,
            "labels": dict(self.scope.labels),
            "starts_at": iso(self.starts_ms),
            "until": iso(self.until_ms),
            "reason": self.reason,
            "by": self.by,
            "created_at": iso(self.created_ms),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentLabel:
    """What a person says an incident was: kind `label`, id the incident's.

    Training leaves the interval of a true one out of what it learns as normal; tuning counts a false one as a false
    page. `start_ms` is the first anomalous observation, `end_ms` the last event of the incident so far, inclusive.
    """

    incident_id: str
    server_id: str
    is_incident: bool
    start_ms: int
    end_ms: int
    by: str
    created_ms: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": ControlKind.LABEL.value,
            "id": self.incident_id,
            "server_id": self.server_id,
            "is_incident": self.is_incident,
            "start": iso(self.start_ms),
            "end": iso(self.end_ms),
            "by": self.by,
            "note": self.note,
            "created_at": iso(self.created_ms),
        }


class Controls(Protocol):
    """Where mutes and maintenance windows are read from."""

    def in_force(self) -> Sequence[Control]:
        """Every mute and maintenance window there is, over or not: what is in force is a matter of event time."""


class ServerLabels(Protocol):
    """What is known of servers."""

    def of(self, server_id: str) -> Mapping[str, str]:
        """A server's labels; empty where it has none or is not known."""


def covering(controls: Iterable[Control], server_id: str, labels: Mapping[str, str], at_ms: int) -> Control | None:
    """The mute or window that suppresses a server's alerts at an event time; of several, the one that ends last."""
    found = [control for control in controls if control.covers(server_id, labels, at_ms)]
    return max(found, key=lambda control: (control.until_ms, control.id), default=None)
