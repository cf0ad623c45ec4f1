"""What a worker has read of each group, and when, so that it does not read the same for the next tick again.

After an outage many ticks ask for the same stretch of time. The first one decides all of it; every other one would read
the stretch again, only to find that everything in it has been decided.
"""

from collections import defaultdict

# A read covers what was asked for this much earlier: the index by group is eventually consistent, and clocks differ.
MARGIN_MS = 10_000
_KEPT = 16  # spans a group; each one forgotten costs a read


class ReadSpans:
    """A worker's reads: each decided everything from its `start_ms` on that was stored by its `read_ms`."""

    def __init__(self) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, group: int, *, read_ms: int, start_ms: int) -> None:
        """Note a read; earlier ones that began no earlier are covered by it and forgotten."""
        spans = [(read_ms, start_ms), *(span for span in self._spans[group] if span[1] < start_ms)]
        if len(spans) > _KEPT:  # the one whose neighbours are closest together
            del spans[min(range(1, _KEPT), key=lambda i: spans[i - 1][1] - spans[i + 1][1])]
        self._spans[group] = spans

    def cover(self, group: int, *, asked_ms: int, since_ms: int) -> bool:
        """Whether everything from `since_ms` on was read late enough after it was asked for at `asked_ms`."""
        return any(read - MARGIN_MS >= asked_ms and start <= since_ms for read, start in self._spans[group])
