"""How far back a worker has read each group, and when: what was asked for before then needs no second look.

Under a backlog, or after an outage, many ticks ask for the same stretch. The first that is served decides it all;
each of the others would read the whole stretch again to find that all of it is known.
"""

from collections import defaultdict

# The index by group is eventually consistent, and workers' clocks differ: a read counts only for what was asked for
# this much earlier.
MARGIN_MS = 10_000
_KEPT = 16  # spans a group; one that is forgotten costs one read more


class ReadSpans:
    """Completed reads of one worker: everything from `start_ms` on that was there at `read_ms` has been decided."""

    def __init__(self) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, group: int, *, read_ms: int, start_ms: int) -> None:
        """Note a completed read; those that it makes superfluous are forgotten."""
        spans = [(read_ms, start_ms), *(span for span in self._spans[group] if span[1] < start_ms)]
        if len(spans) > _KEPT:  # the one that its neighbours replace best
            del spans[min(range(1, _KEPT), key=lambda i: spans[i - 1][1] - spans[i + 1][1])]
        self._spans[group] = spans

    def cover(self, group: int, *, asked_ms: int, since_ms: int) -> bool:
        """Whether what was asked for at `asked_ms` has been read: all from `since_ms` on, late enough after."""
        return any(read - MARGIN_MS >= asked_ms and start <= since_ms for read, start in self._spans[group])
