"""A detector state as bytes: a JSON head, then the arrays one after the other, in the order of their layout."""

import json
import struct
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from treeline.core.arrays import Array
from treeline.core.errors import ModelMismatchError
from treeline.core.state.layout import LAYOUT

FORMAT = 2


@dataclass(slots=True)
class StoredState:
    """A detector state as it is stored: no code beside this module needs to understand it to keep it.

    Attributes:
        head: JSON values: format, metrics, version, activation, servers, cycle.
        arrays: By name, in the order in which they are stored; each has one row a server.
    """

    head: dict[str, Any]
    arrays: dict[str, Array]

    def to_bytes(self) -> bytes:
        """The bytes that `from_bytes` reads."""
        text = json.dumps(self.head, separators=(",", ":")).encode()
        return struct.pack("<I", len(text)) + text + b"".join(array.tobytes() for array in self.arrays.values())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote; raises ModelMismatchError for another format, or where the bytes do not fit."""
        try:
            (size,) = struct.unpack_from("<I", data)
            head = dict(json.loads(data[4 : 4 + size]))
        except (struct.error, ValueError, TypeError) as error:
            raise ModelMismatchError(f"detector state is not readable: {error}") from error
        if head.get("format") != FORMAT:
            raise ModelMismatchError(f"detector state has format {head.get('format')!r}, this code reads {FORMAT}")
        try:
            rows, metrics = len(head["servers"]), head["metrics"]
            blanks = {spec.name: LAYOUT.blank(spec, rows, metrics) for spec in LAYOUT.arrays}
        except (KeyError, TypeError, ValueError) as error:
            raise ModelMismatchError(f"detector state has an unusable head: {error}") from error
        offset, arrays = 4 + size, dict[str, Array]()
        for name, blank in blanks.items():
            if offset + blank.nbytes > len(data):
                raise ModelMismatchError(f"detector state ends inside {name!r}")
            flat = np.frombuffer(data, dtype=blank.dtype, count=blank.size, offset=offset)
            arrays[name] = flat.reshape(blank.shape).copy()
            offset += blank.nbytes
        if offset != len(data):
            raise ModelMismatchError(f"detector state has {len(data) - offset} bytes too many")
        return cls(head, arrays)
