"""Which of the observations that are read again and again have been decided before."""

from treeline.core.state import FleetState


class KnownObservations:
    """Tells observations that were decided before, or learned from in training, from those that were not."""

    def __init__(self, state: FleetState, seeds: FleetState) -> None:
        self._last: dict[str, int] = {}
        self._seen: dict[str, set[int]] = {}
        for source in (seeds, state):  # a server's seed is what it starts from; its state, once there, what counts
            self._last.update(zip(source.servers, source.last_at.tolist(), strict=True))
            self._seen.update(zip(source.servers, map(set, source.seen_at.tolist()), strict=True))
        self._oldest = {server: min(times) for server, times in self._seen.items()}

    def has(self, server: str, observed_at: int) -> bool:
        """Whether the observation was decided, or is too old to be told from one that was."""
        last = self._last.get(server)
        if last is None or observed_at > last:
            return False
        return observed_at in self._seen[server] or observed_at <= self._oldest[server]
