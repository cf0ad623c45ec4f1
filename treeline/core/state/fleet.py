"""The detector's memory of up to 50 servers: arrays of one row a server, saved as one versioned binary item.

Arrays are float32 (float16 where three digits do: floors, tails, the table of habits) and rounded at every step, not
at every save: a replay that saves after each observation and one that saves once a day then hold the same bits, so
speed changes no result.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from treeline.core.errors import ModelMismatchError

FORMAT = 2
VIEWS = 3  # z, its mean over RECENT, its lag-1 difference
RECENT = 10  # observations the second view averages
SCORE_SLOTS = 72  # the onset window, thinned to one score each 1/72 of it
CHANNEL_COUNT = 4  # measures beside the forest's score, see treeline.core.channels.channels
HABIT_SLOTS = 96  # quarter hours of a day
HABIT_LAG = 8  # quarter hours until a peak enters the table of habits
LATE_SLOTS = 32  # observation times remembered to tell a late observation from a repeated one
NEVER = -1

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp] | slice

# name -> (dtype, shape beyond the server axis; M stands for the number of metrics, initial value)
_LAYOUT: dict[str, tuple[str, tuple[int | str, ...], float]] = {
    "phase": ("u1", (), 0),
    "observations": ("i8", (), 0),
    "last_at": ("i8", (), NEVER),
    "last_received_at": ("i8", (), NEVER),
    "seen_at": ("i8", (LATE_SLOTS,), NEVER),
    "base_mean": ("f4", ("M",), 0.0),
    "base_spread": ("f4", ("M",), 1.0),
    "view_floor": ("f2", (VIEWS, "M"), 0.1),
    "view_mean": ("f4", (VIEWS, "M"), 0.0),
    "view_var": ("f4", (VIEWS, "M"), 1.0),
    "recent": ("f4", (RECENT, "M"), 0.0),
    "day_mean": ("f4", ("M",), 0.0),
    "day_var": ("f4", ("M",), 0.0),
    "change_var": ("f4", ("M",), 1.0),
    "tail_start": ("f2", ("M",), 2.0),
    "tail_scale": ("f2", ("M",), 1.0),
    "channel_mean": ("f4", (CHANNEL_COUNT,), 0.0),
    "channel_var": ("f4", (CHANNEL_COUNT,), 1.0),
    "channel_floor": ("f4", (CHANNEL_COUNT,), 0.2),
    "channel_gated": ("u1", (CHANNEL_COUNT,), 0),
    "habit": ("f2", (HABIT_SLOTS,), 0.0),
    "habit_recent": ("f2", (HABIT_LAG,), 0.0),
    "habit_slot": ("i8", (), NEVER),
    "score_slots": ("f4", (SCORE_SLOTS,), np.nan),
    "score_slot": ("i8", (), NEVER),
    "score_mean": ("f4", (), 0.0),
    "score_var": ("f4", (), 1.0),
    "residual_sd": ("f4", (), 1.0),
    "severity": ("f4", (), 0.0),
    "severity_bucket": ("i8", (), NEVER),
    "above_p2": ("u4", (), 0),
    "above_p1": ("u4", (), 0),
    "incident": ("u1", (), 0),
    "opened_at": ("i8", (), NEVER),
    "first_above_at": ("i8", (), NEVER),
    "last_p2_at": ("i8", (), NEVER),
    "last_p1_at": ("i8", (), NEVER),
    "quiet": ("i4", (), 0),
    "resolved_at": ("i8", (), NEVER),
    "sequence": ("i4", (), 0),
}


def together(rows: npt.NDArray[np.intp]) -> Rows:
    """Neighbouring rows in order as a slice: what a slice takes from an array is a view, not a copy."""
    last = len(rows) - 1
    if last >= 0 and rows[last] - rows[0] == last and (rows[1:] > rows[:-1]).all():
        return slice(int(rows[0]), int(rows[last]) + 1)
    return rows


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
    """One row a server of every array in the layout, the fleet cycle, and who sits in which row."""

    __slots__ = ("_arrays", "activation", "cycle", "metrics", "servers", "version")

    def __init__(self, metrics: int, *, servers: list[str] | None = None, version: int = 0) -> None:
        self.metrics = metrics
        self.servers: list[str] = []
        self.version = version
        self.activation = 0  # of the model pointer under which this state was taken up (treeline.app.detect.handover)
        self.cycle = FleetCycle()
        self._arrays: dict[str, Array] = {name: self._blank(name, 0) for name in _LAYOUT}
        self.add(servers or [])

    def __getattr__(self, name: str) -> Array:
        """The array of that name, shape (servers, ...); it may be written to in place."""
        try:
            return self._arrays[name]
        except KeyError:
            raise AttributeError(name) from None

    def arrays(self) -> Mapping[str, Array]:
        """Every array by name, in layout order; they may be written to in place."""
        return self._arrays

    def _blank(self, name: str, rows: int) -> Array:
        dtype, shape, initial = _LAYOUT[name]
        sides = tuple(self.metrics if side == "M" else int(side) for side in shape)
        return np.full((rows, *sides), initial, dtype=np.dtype(dtype).newbyteorder("<"))

    def add(self, servers: list[str]) -> None:
        """Append blank (warming up) rows; raises ValueError for a server that already has one."""
        if not servers:
            return
        again = set(servers) & set(self.servers)
        if again or len(set(servers)) < len(servers):
            raise ValueError(f"a server has one row; already in the state or twice: {sorted(again) or servers}")
        self.servers.extend(servers)
        for name, array in self._arrays.items():
            self._arrays[name] = np.concatenate([array, self._blank(name, len(servers))])

    def __reduce__(self) -> tuple[Any, ...]:
        return FleetState.unpack, (self.pack(),)

    def part(self, rows: slice) -> "FleetState":
        """A copy of some neighbouring rows, with a cycle of its own."""
        state = FleetState(self.metrics, servers=self.servers[rows])
        for name, array in self._arrays.items():
            state._arrays[name][:] = array[rows]
        return state

    @classmethod
    def joined(cls, parts: "Sequence[FleetState]") -> "FleetState":
        """The rows of several states in one, in order; raises ValueError for a server that is in two."""
        state = cls(parts[0].metrics, servers=[server for part in parts for server in part.servers])
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
        """The whole state as bytes: a JSON head (format, shape, servers, cycle), then the arrays in layout order."""
        head = {
            "format": FORMAT,
            "metrics": self.metrics,
            "version": self.version,
            "activation": self.activation,
            "servers": self.servers,
            "cycle": {f.name: getattr(self.cycle, f.name) for f in fields(FleetCycle)},
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        return struct.pack("<I", len(text)) + text + b"".join(a.tobytes() for a in self._arrays.values())

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read what `pack` wrote; raises ModelMismatchError for another format, a damaged head or another length."""
        try:
            (size,) = struct.unpack_from("<I", data)
            head = dict(json.loads(data[4 : 4 + size]))
        except (struct.error, ValueError, TypeError) as error:
            raise ModelMismatchError(f"detector state is not readable: {error}") from error
        if head.get("format") != FORMAT:
            raise ModelMismatchError(f"detector state has format {head.get('format')!r}, this code reads {FORMAT}")
        try:
            state = cls(head["metrics"], servers=head["servers"], version=head["version"])
            state.activation = int(head.get("activation", 0))  # absent in states written before there was one
            state.cycle = FleetCycle(**head["cycle"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelMismatchError(f"detector state has an unusable head: {error}") from error
        offset = 4 + size
        for name, blank in state._arrays.items():
            count = blank.size
            if offset + blank.nbytes > len(data):
                raise ModelMismatchError(f"detector state ends inside {name!r}")
            array = np.frombuffer(data, dtype=blank.dtype, count=count, offset=offset)
            state._arrays[name] = array.reshape(blank.shape).copy()
            offset += blank.nbytes
        if offset != len(data):
            raise ModelMismatchError(f"detector state has {len(data) - offset} bytes too many")
        return state
