"""The seasonal table as it is stored: in blocks of one hour of one kind of day, each of all servers of a group.

A block's bytes never change: its name is their check sum, and a group's record names those of its blocks that are
stored. A block that was never stored, and servers that came after it was, are as the model package has them.
"""

import hashlib
import json
import struct
from math import prod

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import Array, Home
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation.season import BLOCK_SLOTS, BLOCKS, SLOTS, newest_in
from treeline.core.formats import require_format
from treeline.core.state.fleet import FleetState

FORMAT = 1
NAME_LENGTH = 16  # hexadecimal digits


def name_of(block: bytes) -> str:
    """The name of a block with these bytes."""
    return hashlib.sha256(block).hexdigest()[:NAME_LENGTH]


def cut(state: FleetState, number: int) -> bytes:
    """The bytes of a block, of all servers of a state."""
    part_of = parts(state, number)
    arrays = {name: [part.dtype.str[1:], *part.shape[1:]] for name, part in part_of.items()}
    head = {"format": FORMAT, "servers": len(state.servers), "slots": learned(state, number).tolist(), "arrays": arrays}
    text = json.dumps(head, separators=(",", ":")).encode()
    return struct.pack("<I", len(text)) + text + b"".join(part.tobytes() for part in part_of.values())


def learned(state: FleetState, number: int) -> npt.NDArray[np.int64]:
    """By row the newest slot of a block that is over for the server, and so is in its table; NEVER before the first."""
    return newest_in(number, state.slot)


def fill(state: FleetState, number: int, name: str, block: bytes) -> npt.NDArray[np.int64] | None:
    """Take what a stored block holds into a state's table.

    Args:
        state: Changed in place; servers that came after the block was stored keep what they have.
        number: Which block.
        name: The name that the group's record has of it.
        block: What was stored under that name.

    Returns:
        By the block's rows the newest slot that it has learned (`learned`); None where its version did not say so.

    Raises:
        ModelMismatchError: It is damaged, of a newer version, or not of this state.
    """
    if name_of(block) != name:
        raise ModelMismatchError(f"block {number} of the seasonal table is damaged: it does not add up to {name}")
    (size,) = struct.unpack_from("<I", block)
    head, offset = json.loads(block[4 : 4 + size]), 4 + size
    require_format("a block of the seasonal table", head["format"], newest=FORMAT)
    rows, part_of = head["servers"], parts(state, number)
    if rows > len(state.servers):
        raise ModelMismatchError(f"block {number} of the seasonal table is of more servers than the group has")
    for array, (dtype, *shape) in head["arrays"].items():
        stored = np.frombuffer(block, np.dtype(dtype).newbyteorder("<"), rows * prod(shape), offset)
        offset += stored.nbytes
        if array not in part_of:
            continue
        if part_of[array].shape[1:] != tuple(shape):
            raise ModelMismatchError(f"block {number} of the seasonal table has {array!r} of shape {shape}")
        part_of[array][:rows] = stored.reshape(rows, *shape)
    return np.array(head["slots"], dtype=np.int64) if "slots" in head else None


def keep_only(state: FleetState, blocks: set[int]) -> None:
    """Empty all other blocks of a state's table."""
    for number in set(range(BLOCKS)) - blocks:
        for spec in state.layout.at_home(Home.TABLE):
            part = parts(state, number)[spec.name]
            part[...] = np.nan if spec.initial is None else spec.initial


def parts(state: FleetState, number: int) -> dict[str, Array]:
    """A block's part of each array, as a view."""
    kind, first = divmod(number * BLOCK_SLOTS, SLOTS)
    return {
        spec.name: state.arrays()[spec.name][:, kind, first : first + BLOCK_SLOTS]
        for spec in state.layout.at_home(Home.TABLE)
    }
