"""The ledger of pages: which event of a dedup key may be sent next, so that each is sent once and in order.

A standard queue delivers in any order and sometimes twice, a worker may die while sending, and a page that PagerDuty
puts off comes back after later ones. Without a ledger that all workers share, an `opened` that comes after its
`resolved` would page for an incident that is over, and nothing would ever close it.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

from treeline.core.alert import Alert, AlertEvent

# Where an event stands among those of one dedup key: when its incident opened (ISO), then its sequence, which
# counts from 1 without gaps.
Position = tuple[str, int]


class Turn(Enum):
    """What is to become of an event now."""

    GO = auto()
    SUPERSEDED = auto()  # it is through, or a later one is
    BUSY = auto()  # another worker is sending an event of this key
    BEHIND = auto()  # PagerDuty put an earlier event off
    EARLY = auto()  # an earlier event has not come yet


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEntry:
    """What is known of the events of one dedup key."""

    version: int = 0  # of the stored entry; 0 is none yet
    # The last event that is done: sent, refused for good, or none that PagerDuty is told of.
    through: Position | None = None
    is_open: bool = False  # whether PagerDuty holds the incident open after it
    # The event that a worker is sending; past `claimed_until_ms` that worker counts as dead.
    claimed: Position | None = None
    claimed_until_ms: int = 0
    # The event that PagerDuty put off; past `waiting_until_ms` it has gone to the dead letters.
    waiting: Position | None = None
    waiting_until_ms: int = 0

    def turn(self, position: Position, *, follows: str, now_ms: int, is_overdue: bool) -> Turn:
        """Whether an event may be sent now.

        Args:
            position: The event's.
            follows: When the incident before was opened (ISO), where the event says so.
            now_ms: The clock.
            is_overdue: The event has waited long enough for earlier ones that never came.
        """
        if self.through is not None and position <= self.through:
            return Turn.SUPERSEDED
        if self.claimed is not None and now_ms < self.claimed_until_ms:
            return Turn.BUSY
        if self.waiting is not None and self.waiting < position and now_ms < self.waiting_until_ms:
            return Turn.BEHIND
        return Turn.GO if is_overdue or self._is_next(position, follows) else Turn.EARLY

    def _is_next(self, position: Position, follows: str) -> bool:
        opened, sequence = position
        last_opened, last_sequence = self.through or ("", 0)
        if opened == last_opened:
            return sequence == last_sequence + 1
        # A new incident comes after the resolution of the one it names, or, naming none, of the last one known.
        return sequence == 1 and not self.is_open and follows in ("", last_opened)

    def claim(self, position: Position, until_ms: int) -> "PageEntry":
        """The entry while a worker sends an event."""
        return replace(self, version=self.version + 1, claimed=position, claimed_until_ms=until_ms)

    def put_off(self, position: Position, until_ms: int) -> "PageEntry":
        """The entry after PagerDuty asked to try later."""
        return replace(self, version=self.version + 1, claimed=None, waiting=position, waiting_until_ms=until_ms)

    def done(self, position: Position, event: AlertEvent) -> "PageEntry":
        """The entry after an event is through."""
        is_open = event is not AlertEvent.RESOLVED
        if event is AlertEvent.SUPPRESSED:  # it leaves PagerDuty's incident as it is
            is_open = self.is_open and self.through is not None and self.through[0] == position[0]
        return PageEntry(version=self.version + 1, through=position, is_open=is_open)


class PageLedger(Protocol):
    """Entries that all workers share."""

    def load(self, key: str) -> PageEntry:
        """The entry of a dedup key, read consistently; raises StoreUnavailableError."""

    def save(self, key: str, entry: PageEntry) -> bool:
        """Write it if the stored version is still the one before; False: another worker was first.

        Raises StoreUnavailableError.
        """


def position_of(alert: Alert) -> Position:
    """Where an event stands among those of its dedup key."""
    return alert.incident_id.rpartition("/")[2], alert.sequence


def followed_by(alert: Alert) -> str:
    """When the incident before the alert's was opened; empty when the alert names none."""
    return alert.follows.rpartition("/")[2]
