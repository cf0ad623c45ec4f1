"""The detector's memory of up to 50 servers, as the code that decides works with it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from treeline.core.arrays import NEVER, Array
from treeline.core.errors import ModelMismatchError
from treeline.core.state.codec import FORMAT, StoredState
from treeline.core.state.layout import LAYOUT, Layout


class Phase:
    """Where a server stands with the detector."""

    WARMING_UP = 0
    READY = 1


@dataclass(slots=True)
class FleetCycle:
    """What the servers of a group do together: the median severity of the last complete bucket."""

    bucket: int = NEVER
    level: float = 0.0
    above: int = 0
    incident: int = 0
    opened_at: int = NEVER
    last_above_at: int = NEVER
    quiet: int = 0
    sequence: int = 0
    first_above_at: int = NEVER


class FleetState:
    """One row a server of every array in the layout, the fleet cycle, and who sits in which row.

    Every array is an attribute under its name in the layout, shape (servers, ...), to be written to in place.
    """

    __slots__ = ("_arrays", "activation", "cycle", "layout", "metrics", "servers", "version")

    def __init__(
        self, metrics: int, *, servers: list[str] | None = None, version: int = 0, layout: Layout = LAYOUT
    ) -> None:
        self.layout = layout
        self.metrics = metrics
        self.servers: list[str] = []
        self.version = version
        self.activation = 0  # of the model pointer under which this state was taken up (treeline.app.detect.handover)
        self.cycle = FleetCycle()
        self._arrays: dict[str, Array] = {spec.name: layout.blank(spec, 0, metrics) for spec in layout.arrays}
        self.add(servers or [])

    def __getattr__(self, name: str) -> Array:
        """The array of that name."""
        try:
            return self._arrays[name]
        except KeyError:
            raise AttributeError(name) from None

    def arrays(self) -> Mapping[str, Array]:
        """Every array by name, in layout order; they may be written to in place."""
        return self._arrays

    def add(self, servers: list[str]) -> None:
        """Append blank (warming up) rows; raises ValueError for a server that already has one."""
        if not servers:
            return
        again = set(servers) & set(self.servers)
        if again or len(set(servers)) < len(servers):
            raise ValueError(f"a server has one row; already in the state or twice: {sorted(again) or servers}")
        self.servers.extend(servers)
        for spec in self.layout.arrays:
            blank = self.layout.blank(spec, len(servers), self.metrics)
            self._arrays[spec.name] = np.concatenate([self._arrays[spec.name], blank])

    def __reduce__(self) -> tuple[Any, ...]:
        return FleetState.unpack, (self.pack(),)

    def part(self, rows: slice) -> "FleetState":
        """A copy of some neighbouring rows, with a cycle of its own."""
        state = FleetState(self.metrics, servers=self.servers[rows], layout=self.layout)
        for name, array in self._arrays.items():
            state._arrays[name][:] = array[rows]
        return state

    @classmethod
    def joined(cls, parts: "Sequence[FleetState]") -> "FleetState":
        """The rows of several states in one, in order; raises ValueError for a server that is in two."""
        servers = [server for part in parts for server in part.servers]
        state = cls(parts[0].metrics, servers=servers, layout=parts[0].layout)
        for name in state._arrays:
            state._arrays[name][:] = np.concatenate([part._arrays[name] for part in parts])
        return state

    def rows(self) -> dict[str, int]:
        """Server id -> row."""
        return {server: row for row, server in enumerate(self.servers)}

    def next_step(self, server_id: str) -> int:
        """Count one more change of the open incident of a server, or of what all share, and give its number."""
        if server_id not in self.servers:
            self.cycle.sequence += 1
            return self.cycle.sequence
        row = self.servers.index(server_id)
        self.sequence[row] += 1
        return int(self.sequence[row])

    def row_values(self, row: int) -> dict[str, Array]:
        """A copy of one server's values by name."""
        return {name: array[row].copy() for name, array in self._arrays.items()}

    def set_row(self, row: int, values: Mapping[str, Any]) -> None:
        """Write values by name into one server's row; unknown names raise KeyError."""
        for name, value in values.items():
            self._arrays[name][row] = value

    def copy(self) -> "FleetState":
        """An independent copy."""
        return FleetState.unpack(self.pack())

    def pack(self) -> bytes:
        """The whole state as bytes."""
        head = {
            "format": FORMAT,
            "metrics": self.metrics,
            "version": self.version,
            "activation": self.activation,
            "servers": self.servers,
            "cycle": asdict(self.cycle),
        }
        return StoredState(head, self._arrays).to_bytes()

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read what `pack` wrote; raises ModelMismatchError for another format, a damaged head or another length."""
        stored = StoredState.from_bytes(data)
        head = stored.head
        try:
            state = cls(head["metrics"], servers=head["servers"], version=head["version"])
            state.activation = int(head.get("activation", 0))  # absent in states written before there was one
            state.cycle = FleetCycle(**head["cycle"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelMismatchError(f"detector state has an unusable head: {error}") from error
        state._arrays = stored.arrays
        return state
