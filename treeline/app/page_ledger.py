"""What a worker remembers of the pages it sent, so that events of one incident stay in order."""

from collections import OrderedDict

_REMEMBERED_KEYS = 10_000

# Where an event stands among those of one dedup key: when its incident opened (ISO), then its sequence.
Position = tuple[str, int]


class PageLedger:
    """What this worker knows of each dedup key: how far it is delivered, and what waits to be tried again.

    Messages of a standard queue come in any order and now and then twice, and a failed one comes back after the
    ones behind it. Without this, an `opened` that is retried after its `resolved` went out would page for an
    incident that is over, and nothing would ever close it. The memory is a worker's own: the event source
    mapping keeps the number of workers small.
    """

    def __init__(self) -> None:
        self._delivered: OrderedDict[str, Position] = OrderedDict()
        self._waiting: OrderedDict[str, set[Position]] = OrderedDict()

    def is_superseded(self, key: str, position: Position) -> bool:
        """Whether this event or a later one of the same key was delivered."""
        delivered = self._delivered.get(key)
        return delivered is not None and delivered >= position

    def has_earlier_waiting(self, key: str, position: Position) -> bool:
        """Whether an earlier event of the same key waits for its next attempt."""
        return any(waiting < position for waiting in self._waiting.get(key, ()))

    def note_waiting(self, key: str, position: Position) -> None:
        """Remember that an event waits."""
        self._waiting.setdefault(key, set()).add(position)
        self._waiting.move_to_end(key)
        if len(self._waiting) > _REMEMBERED_KEYS:
            self._waiting.popitem(last=False)

    def note_done(self, key: str, position: Position, *, delivered: bool) -> None:
        """Remember that an event is through, delivered or refused."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.discard(position)
            if not waiting:
                del self._waiting[key]
        if delivered:
            self._delivered[key] = position
            self._delivered.move_to_end(key)
            if len(self._delivered) > _REMEMBERED_KEYS:
                self._delivered.popitem(last=False)
