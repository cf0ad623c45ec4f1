"""A detector state as bytes: a JSON head that says which arrays follow, then the arrays one after the other."""

import json
import struct
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np

from treeline.core.arrays import Array
from treeline.core.errors import ModelMismatchError
from treeline.core.formats import require_format
from treeline.core.state import format_2
from treeline.core.state.layout import Layout

FORMAT = 4  # 2 did not name its arrays, 3 had no seasonal table


@dataclass(frozen=True, slots=True)
class StoredState:
    """A detector state as it is stored, of whichever version: it can be kept and copied without knowing its arrays."""

    # JSON values: format, metrics, version, activation, servers, cycle, from format 3 on the layout, and from 4 on the
    # names of the stored blocks of the seasonal table.
    head: dict[str, Any]
    layout: Layout  # of the arrays
    arrays: dict[str, Array]  # by name, in the order of the layout; each has one row a server
    lacking: frozenset[str] = frozenset()  # arrays that an older version had not; they have initial values

    @property
    def version(self) -> int:
        """How often the state was committed."""
        return int(self.head["version"])

    def to_bytes(self) -> bytes:
        """The bytes that `from_bytes` reads, in the format that the head says."""
        text = json.dumps(self.head, separators=(",", ":")).encode()
        return struct.pack("<I", len(text)) + text + b"".join(array.tobytes() for array in self.arrays.values())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what this or an earlier version wrote; raises ModelMismatchError for a newer one's, and for damage."""
        try:
            (size,) = struct.unpack_from("<I", data)
            head = dict(json.loads(data[4 : 4 + size]))
        except (struct.error, ValueError, TypeError) as error:
            raise ModelMismatchError(f"detector state is not readable: {error}") from error
        found = require_format("detector state", head.get("format"), newest=FORMAT, oldest=2)
        try:
            layout = format_2.LAYOUT if found == 2 else Layout.from_json(head)
            if found == 2:  # the order in which the log's check sums take them; the activation came later
                names = ("format", "metrics", "version", "activation", "servers", "cycle")
                head = {"activation": 0, **head}
                head = {name: head[name] for name in names}
            return cls(head, layout, _arrays(layout, head, data, 4 + size))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelMismatchError(f"detector state has an unusable head: {error}") from error

    def copy(self) -> "StoredState":
        """An independent copy."""
        head = {**self.head, "servers": list(self.head["servers"])}
        return StoredState(head, self.layout, {name: array.copy() for name, array in self.arrays.items()})

    def add(self, servers: list[str]) -> None:
        """Append rows of initial values; raises ValueError for a server that already has one."""
        if not servers:
            return
        again = set(servers) & set(self.head["servers"])
        if again or len(set(servers)) < len(servers):
            raise ValueError(f"a server has one row; already in the state or twice: {sorted(again) or servers}")
        self.head["servers"].extend(servers)
        for spec in self.layout.arrays:
            blank = self.layout.blank(spec, len(servers), self.head["metrics"])
            self.arrays[spec.name] = np.concatenate([self.arrays[spec.name], blank])


def _arrays(layout: Layout, head: dict[str, Any], data: bytes, offset: int) -> dict[str, Array]:
    rows, metrics, arrays = len(head["servers"]), head["metrics"], dict[str, Array]()
    if len(set(head["servers"])) < rows:
        raise ValueError("a server has one row")
    for spec in layout.arrays:
        dtype, shape = np.dtype(spec.dtype).newbyteorder("<"), layout.shape(spec, rows, metrics)
        count = prod(shape)
        if offset + count * dtype.itemsize > len(data):
            raise ModelMismatchError(f"detector state ends inside {spec.name!r}")
        arrays[spec.name] = np.frombuffer(data, dtype, count, offset).reshape(shape).copy()
        offset += count * dtype.itemsize
    if offset != len(data):
        raise ModelMismatchError(f"detector state has {len(data) - offset} bytes too many")
    return arrays
