"""Items of the detector-state table as commit 291f9e5 would have stored them, in format 2.

What a deployment that updates from that commit finds; tests/unit/test_golden.py holds it against what the commit
itself stored.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from treeline.app.detect.scoreblock import ScoreBlock
from treeline.core.arrays import Axis
from treeline.core.state import delta as state_delta
from treeline.core.state.codec import StoredState
from treeline.core.state.format_2 import LAYOUT

Item = dict[str, Any]


def put_back(items: Iterable[Item]) -> list[Item]:
    """The same items, all of the table or the newest of it from a head on, with the same values in them."""
    records = (item for item in items if "table_block" not in item)  # format 2 had no seasonal table
    ordered = sorted(records, key=lambda item: (item["group"]["N"], item["model_version"]["S"]))
    return [
        item
        for _, log in groupby(ordered, key=lambda item: (item["group"]["N"], item["model_version"]["S"].split("#")[0]))
        for item in _log(list(log))
    ]


def _log(items: list[Item]) -> Iterator[Item]:
    """A head with the entries behind it. The delta of an entry that the head has overtaken is never read: it stays."""
    head, *entries = items
    state = StoredState.from_bytes(zlib.decompress(head["whole"]["B"]))
    yield _with_block({**head, "whole": {"B": zlib.compress(in_format_2(state).to_bytes(), 1)}})
    for entry in entries:
        before, version = in_format_2(state), int(entry["model_version"]["S"].rpartition("#")[2])
        if "state" in entry:
            whole = StoredState.from_bytes(zlib.decompress(entry["state"]["B"]))
            entry = {**entry, "state": {"B": zlib.compress(in_format_2(whole).to_bytes(), 1)}}
        if version == state.version + 1:
            state_delta.verify(state, state_delta.apply(state, entry["delta"]["B"]))
            entry = {**entry, "delta": {"B": state_delta.pack(before, in_format_2(state))}}
        yield _with_block(entry)


def in_format_2(stored: StoredState) -> StoredState:
    """A state in which nothing says what its arrays are; they stand in the order that format 2 had."""
    channels = [stored.layout.channels.index(name) for name in LAYOUT.channels]
    arrays = {}
    for spec in LAYOUT.arrays:
        array = stored.arrays.get(spec.name)
        if array is None:  # today's code has no use for it
            array = LAYOUT.blank(spec, len(stored.head["servers"]), stored.head["metrics"])
            arrays[spec.name] = array
            continue
        arrays[spec.name] = np.take(array, channels, 1) if Axis.CHANNELS in spec.axes else array.copy()
    names = ("metrics", "version", "activation", "servers", "cycle")
    head = {"format": 2, **{name: stored.head[name] for name in names}}
    return StoredState({**head, "servers": list(head["servers"])}, LAYOUT, arrays)


def _with_block(item: Item) -> Item:
    """The score block of a commit holds states too: those from which incidents were decided."""
    if "block" not in item:
        return item
    block = ScoreBlock.unpack(item["block"]["B"])
    block.origins = {server: _origin(data) for server, data in block.origins.items()}
    block.common = block.common[:, :0]
    return {**item, "block": {"B": _in_format_1(block.pack())}}


def _in_format_1(block: bytes) -> bytes:
    """The bytes of a score block that says nothing of peers, as code wrote them that knew of none."""
    (size,) = struct.unpack_from("<I", block)
    head = json.loads(block[4 : 4 + size])
    head["format"] = 1
    del head["metrics"]
    text = json.dumps(head, separators=(",", ":")).encode()
    return struct.pack("<I", len(text)) + text + block[4 + size :]


def _origin(data: bytes) -> bytes:
    body = zlib.decompress(data)
    (size,) = struct.unpack_from("<I", body)
    state = StoredState.from_bytes(body[4 + size :])
    return zlib.compress(body[: 4 + size] + in_format_2(state).to_bytes())
