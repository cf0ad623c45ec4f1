"""The detector's memory of up to 50 servers, as the code that decides works with it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import NEVER, Array, Home
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation import season
from treeline.core.state.codec import FORMAT, StoredState
from treeline.core.state.layout import Layout, todays_layout
from treeline.core.state.migrate import migrated


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
    score_excess: float = 0.0  # by how much the median server's score lay above its own average


class FleetState:
    """One row a server of every array in the layout, the fleet cycle, and who sits in which row.

    Every array is an attribute under its name in the layout, shape (servers, ...), to be written to in place.
    """

    def __init__(
        self, metrics: int, *, servers: list[str] | None = None, version: int = 0, layout: Layout | None = None
    ) -> None:
        self.layout = layout = layout or todays_layout()
        self.metrics = metrics
        self.servers: list[str] = []
        self.version = version
        self.activation = 0  # see treeline.app.detect.handover
        self.cycle = FleetCycle()
        self.table = [""] * season.BLOCKS  # by block of the seasonal table, the name of what is stored; "": nothing is
        # By block, the name of what the state held of it when it was read: `treeline.app.detect.ports.Records.fill`.
        self.filled: dict[int, str] = {}
        self.lacking: frozenset[str] = frozenset()  # arrays that were not stored; `ModelPackage.attach` fills them
        self._arrays: dict[str, Array] = {}
        self._hold([], {spec.name: layout.blank(spec, 0, metrics) for spec in layout.arrays})
        self.add(servers or [])

    def __getattr__(self, name: str) -> Array:
        """For type checkers, which do not know the arrays' names; all there are were found before this is asked."""
        raise AttributeError(f"a detector state has no array {name!r}")

    @property
    def rolling_window_s(self) -> float:
        """Length of the rolling window that all is expected by; 0 where each series has an expectation of its own."""
        return self.layout.rolling_window_s

    @property
    def is_retired(self) -> npt.NDArray[np.bool_]:
        """By row, whether the server was retired and nothing has come of it since."""
        retired: npt.NDArray[np.bool_] = (self.retired_at != NEVER) & (self.last_at == NEVER)
        return retired

    def _hold(self, servers: list[str], arrays: dict[str, Array]) -> None:
        """Take these servers and arrays over. Plain attributes: a round of decisions asks for seventy of them."""
        self.servers, self._arrays = servers, arrays
        vars(self).update(arrays)

    def arrays(self) -> Mapping[str, Array]:
        """Every array by name, in layout order; they may be written to in place."""
        return self._arrays

    def add(self, servers: list[str]) -> None:
        """Append blank (warming up) rows; raises ValueError for a server that already has one."""
        stored = self._stored()
        stored.add(servers)
        self._hold(stored.head["servers"], stored.arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return FleetState.unpack, (self.pack(), self.layout)

    def part(self, rows: slice | list[int]) -> "FleetState":
        """A copy of some rows, with a cycle of its own."""
        servers = self.servers[rows] if isinstance(rows, slice) else [self.servers[row] for row in rows]
        state = FleetState(self.metrics, servers=servers, layout=self.layout)
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

    def take_over(self, other: "FleetState") -> None:
        """Have the servers and arrays of another state of the same layout, which is not to be used any more."""
        self._hold(other.servers, other._arrays)

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

    def copy(self, *homes: Home) -> "FleetState":
        """An independent copy; where homes are named, it shares the arrays of the others."""
        stored = self._stored(*homes).copy()
        stored = StoredState({**stored.head, **self.layout.to_json()}, self.layout, {**self._arrays, **stored.arrays})
        state = FleetState.of_stored(stored, self.layout)
        state.filled, state.lacking = dict(self.filled), self.lacking
        return state

    def pack(self, *homes: Home) -> bytes:
        """As bytes: the arrays that are stored in some homes, or all where none is named."""
        return self._stored(*homes).to_bytes()

    @classmethod
    def unpack(cls, data: bytes, layout: Layout | None = None) -> "FleetState":
        """Read what `pack` wrote, in this or an earlier version; raises ModelMismatchError for anything else."""
        return cls.of_stored(StoredState.from_bytes(data), layout)

    def _stored(self, *homes: Home) -> StoredState:
        """This state to store; the arrays are shared."""
        layout = self.layout.only(*homes) if homes else self.layout
        head = {
            "format": FORMAT,
            "metrics": self.metrics,
            "version": self.version,
            "activation": self.activation,
            "servers": list(self.servers),
            "cycle": asdict(self.cycle),
            "table": list(self.table),
            **layout.to_json(),
        }
        return StoredState(head, layout, {spec.name: self._arrays[spec.name] for spec in layout.arrays})

    @classmethod
    def of_stored(cls, stored: StoredState, layout: Layout | None = None) -> "FleetState":
        """A stored state to work with, brought to a layout, today's where none is given; it takes over the arrays."""
        layout = layout or todays_layout(stored.layout.rolling_window_s, stored.layout.rolling_parts)
        stored = migrated(stored, layout)
        head = stored.head
        try:
            state = cls(head["metrics"], version=int(head["version"]), layout=layout)
            state.activation = int(head["activation"])
            state.table = [str(name) for name in head["table"]]
            known = {field.name for field in fields(FleetCycle)}
            state.cycle = FleetCycle(**{name: value for name, value in head["cycle"].items() if name in known})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelMismatchError(f"detector state has an unusable head: {error}") from error
        state._hold(head["servers"], stored.arrays)
        state.lacking = stored.lacking
        return state
