"""The detector-state table: a log of what each commit changed, and now and then the whole state.

| sort key | holds |
|---|---|
| `<model>#<version>` | one commit: the delta (or the whole state), its score block, alerts to be published; expires |
| `<model>` | the *head*: the whole state as of some version; never expires |

Writing the log entry of a version is the commit. Its key can be written once only, so of two workers that have read the
same version one wins. The head saves reading a long log; it may be written late, twice or never. Why not a whole state
at each commit: docs/decisions/0081-state-as-a-log.md.
"""

import json
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from treeline.app.alert.muting import SuppressedIncident
from treeline.app.detect.ports import Record
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import items_of, write_conditionally
from treeline.aws.retries import is_transient
from treeline.core.alert import Alert
from treeline.core.arrays import Home
from treeline.core.errors import ModelMismatchError, StateConflictError
from treeline.core.state import delta as state_delta
from treeline.core.state.codec import StoredState
from treeline.core.state.fleet import FleetState

SNAPSHOT_EVERY = 96  # commits; a worker without the group in memory reads at most so many entries
ENTRY_TTL_S = 2 * 86_400  # one for all entries: a delta is useless once an entry before it has expired
# A head is written at least this often, however few the commits, so that no entry after it expires.
OLDEST_HEAD_MS = 6 * 3_600_000
HEAD_PAUSE_MS = 60_000  # until the next try where the table throttled a head, which is ten times the size of a commit
# How long a worker uses the state it has in memory; far shorter than entries live, so it misses none.
KEEP_MS = 600_000
KEPT_GROUPS = 400
_LAST = 9_999_999_999

Key = tuple[int, str]  # group and model version
Item = dict[str, Any]
Head = tuple[int, int]  # its version, and a time (ms) before which nothing past it was committed


@dataclass(slots=True)
class _Kept:
    """A group's state in memory as it was stored, for the next load and the next delta; callers get copies."""

    state: StoredState
    head: Head  # the newest known
    read_ms: int
    is_old_head: bool = False  # written before there was a log: the next commit replaces it


class DetectorRecords:
    """Records by group and model version, committed only from the version that was read.

    Args:
        clock_ms: Wall-clock milliseconds: entries expire by it.
        writes: Whether this is the detector, which also keeps heads fresh; others only read.
    """

    def __init__(
        self, dynamodb: DynamoDBClient, table: str, *, clock_ms: Callable[[], int], writes: bool = False
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._clock_ms = clock_ms
        self._writes = writes
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._heads_from_ms = 0  # none is written before

    def load(self, group: int, model_version: str) -> Record | None:
        """The committed record, read consistently; None before the first commit."""
        key = (group, model_version)
        kept = self._kept.get(key)
        if kept is not None and self._clock_ms() - kept.read_ms <= KEEP_MS and not kept.is_old_head:
            entries = self._entries(key, kept.state.version)
            if entries and _version(entries[0]) == kept.state.version:
                try:
                    return self._follow(key, kept, entries, entries[0])
                except ModelMismatchError:
                    pass  # what was put there since is of another history; where it is damaged, reading it anew says so
        self._kept.pop(key, None)
        return self._load_anew(key)

    def commit(self, record: Record, previous_version: int) -> None:
        """Write if nobody has committed past `previous_version`; raises StateConflictError otherwise."""
        key = (record.group, record.model_version)
        kept = self._kept.get(key)
        base = kept.state if kept is not None and kept.state.version == previous_version else None
        if kept is not None and kept.is_old_head:
            if not self._put_head(record, previous_version):
                raise _conflict(record)
            self._keep(
                key, StoredState.from_bytes(record.state.pack(Home.STATE)), (record.state.version, self._clock_ms())
            )
            return
        head = kept.head if kept is not None else (0, self._clock_ms())
        packed = record.state.pack(Home.STATE)
        state = StoredState.from_bytes(packed)
        # None, too, in the first commit after what other code wrote: its states are laid out in another way.
        delta = None if base is None else state_delta.pack(base, state)
        whole = zlib.compress(packed, 1) if delta is None else b""
        entry = {
            **_entry_key(key, record.state.version),
            **({"state": {"B": whole}} if delta is None else {"delta": {"B": delta}}),
            **self._beside_state(record),
            "head_version": {"N": str(head[0])},
            "head_ms": {"N": str(head[1])},
            "expires_at": {"N": str(self._clock_ms() // 1000 + ENTRY_TTL_S)},
        }
        if not write_conditionally(
            self._dynamodb.put_item,
            TableName=self._table,
            Item=entry,
            ConditionExpression="attribute_not_exists(#group) OR expires_at < :now",
            ExpressionAttributeNames={"#group": "group"},
            ExpressionAttributeValues={":now": {"N": str(self._clock_ms() // 1000)}},
        ):
            raise _conflict(record)
        self._keep(key, state, head)
        is_long = delta is None or record.state.version - head[0] >= SNAPSHOT_EVERY
        # With alerts in the outbox the head would have to be written again once they are published.
        if (is_long and not record.outbox) or self._is_old(head):
            self._write_head(record)

    def clear_outbox(self, record: Record) -> None:
        """Forget delivered alerts; if another worker has committed since, it carries the outbox on."""
        key = (record.group, record.model_version)
        version = record.state.version
        kept = self._kept.get(key)
        cleared = self._set_outbox(_entry_key(key, version), record, is_entry=True)
        if not cleared or (kept is not None and kept.head[0] == version):
            cleared = self._set_outbox(_head_key(key), record, is_entry=False) or cleared
        if not cleared:
            raise _conflict(record)

    def _load_anew(self, key: Key) -> Record | None:
        head = self._dynamodb.get_item(TableName=self._table, Key=_head_key(key), ConsistentRead=True).get("Item")
        version = 0 if head is None else int(head["version"]["N"])
        entries = self._entries(key, version)
        if head is not None:
            is_old = "state" in head and not entries
            data = bytes(head["state"]["B"]) if "state" in head else zlib.decompress(bytes(head["whole"]["B"]))
            known = version, int(head["committed_ms"]["N"])
            kept = _Kept(StoredState.from_bytes(data), known, self._clock_ms(), is_old_head=is_old)
            own = bool(entries) and _version(entries[0]) == version
            return self._follow(key, kept, entries, entries[0] if own else head)
        started = next((i for i, entry in enumerate(entries) if "state" in entry), None)
        if started is None:
            return None
        first = entries[started]
        state = StoredState.from_bytes(zlib.decompress(bytes(first["state"]["B"])))
        return self._follow(key, _Kept(state, _head_of(first), self._clock_ms()), entries[started:], first)

    def _follow(self, key: Key, kept: _Kept, entries: list[Item], latest: Item) -> Record:
        """Take the kept state to the end of the log: `entries` from its version on, in order.

        `latest` is the item that was committed with the kept version.
        """
        self._kept.pop(key, None)  # until its check sum is known to be right
        crc, state, head = None, kept.state, kept.head
        for entry in entries:
            head = max(head, _head_of(entry))
            if _version(entry) <= state.version:
                continue
            if _version(entry) != state.version + 1:
                break  # the missing entry has expired, so what follows it is about to
            if "state" in entry:
                crc, state = None, StoredState.from_bytes(zlib.decompress(bytes(entry["state"]["B"])))
            else:
                crc = state_delta.apply(state, bytes(entry["delta"]["B"]))
            latest = entry
        if crc is not None:
            state_delta.verify(state, crc)
        self._keep(key, state, head, is_old_head=kept.is_old_head)
        record = _record(key, FleetState.of_stored(state.copy()), latest)
        if self._writes and head[0] < state.version and self._is_old(head):
            self._write_head(record)
        return record

    def _is_old(self, head: Head) -> bool:
        return self._clock_ms() - head[1] > OLDEST_HEAD_MS

    def _keep(self, key: Key, state: StoredState, head: Head, *, is_old_head: bool = False) -> None:
        self._kept[key] = _Kept(state, head, self._clock_ms(), is_old_head)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_GROUPS:
            self._kept.popitem(last=False)

    def _entries(self, key: Key, version: int) -> list[Item]:
        """Log entries from a version on, in order, without those that have expired but are still there."""
        now_s = self._clock_ms() // 1000
        entries = items_of(
            self._dynamodb,
            TableName=self._table,
            KeyConditionExpression="#group = :group AND model_version BETWEEN :first AND :last",
            ExpressionAttributeNames={"#group": "group"},
            ExpressionAttributeValues={
                ":group": {"N": str(key[0])},
                ":first": _entry_key(key, version)["model_version"],
                ":last": _entry_key(key, _LAST)["model_version"],
            },
            ConsistentRead=True,
        )
        return [entry for entry in entries if int(entry["expires_at"]["N"]) >= now_s]

    def _beside_state(self, record: Record) -> Item:
        """What is committed with a state: its block, its outbox and its suppressed incidents (stored as `untold`)."""
        item: Item = {"outbox": {"B": _outbox(record)}, "committed_ms": {"N": str(record.committed_ms)}}
        if record.block is not None:
            item["block"] = {"B": record.block.pack()}
        if record.suppressed:
            body = {server: entry.to_json() for server, entry in record.suppressed.items()}
            item["untold"] = {"B": zlib.compress(json.dumps(body).encode())}
        return item

    def _write_head(self, record: Record) -> None:
        """Put a committed state into the head, unless the head is as far already."""
        if self._clock_ms() < self._heads_from_ms:
            return
        try:
            self._put_head(record, None)
        except ClientError as error:
            if not is_transient(error):
                raise
            # The commit stands without a new head, and a table short of capacity is left to commits for a while.
            self._heads_from_ms = self._clock_ms() + HEAD_PAUSE_MS
            return
        self._kept[record.group, record.model_version].head = record.state.version, self._clock_ms()

    def _put_head(self, record: Record, previous_version: int | None) -> bool:
        """Write the head over an older one, or only over the version that is named; whether it was written."""
        key = (record.group, record.model_version)
        version = str(record.state.version)
        condition = "#version < :version" if previous_version is None else "#version = :version"
        expected = version if previous_version is None else str(previous_version)
        return write_conditionally(
            self._dynamodb.put_item,
            TableName=self._table,
            Item={
                **_head_key(key),
                **self._beside_state(record),
                "version": {"N": version},
                "whole": {"B": zlib.compress(record.state.pack(Home.STATE), 1)},
            },
            ConditionExpression=f"attribute_not_exists(#group) OR {condition}",
            ExpressionAttributeNames={"#group": "group", "#version": "version"},
            ExpressionAttributeValues={":version": {"N": expected}},
        )

    def _set_outbox(self, key: Item, record: Record, *, is_entry: bool) -> bool:
        """Store the outbox with a version's entry, or with the head at that version; whether it was there."""
        values: Item = {":outbox": {"B": _outbox(record)}}
        if is_entry:
            condition, names = "attribute_exists(#group)", {"#group": "group"}
        else:
            condition, names = "#version = :version", {"#version": "version"}
            values[":version"] = {"N": str(record.state.version)}
        return write_conditionally(
            self._dynamodb.update_item,
            TableName=self._table,
            Key=key,
            UpdateExpression="SET outbox = :outbox",
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )


def _head_key(key: Key) -> Item:
    return {"group": {"N": str(key[0])}, "model_version": {"S": key[1]}}


def _entry_key(key: Key, version: int) -> Item:
    return {"group": {"N": str(key[0])}, "model_version": {"S": f"{key[1]}#{version:010d}"}}


def _head_of(entry: Item) -> Head:
    """The head that was known to the worker that wrote the entry."""
    return int(entry["head_version"]["N"]), int(entry["head_ms"]["N"])


def _version(entry: Item) -> int:
    return int(entry["model_version"]["S"].rpartition("#")[2])


def _record(key: Key, state: FleetState, item: Item) -> Record:
    suppressed = json.loads(zlib.decompress(bytes(item["untold"]["B"]))) if "untold" in item else {}
    return Record(
        group=key[0],
        model_version=key[1],
        state=state,
        block=ScoreBlock.unpack(bytes(item["block"]["B"])) if "block" in item else None,
        outbox=[Alert.from_json(body) for body in json.loads(zlib.decompress(bytes(item["outbox"]["B"])))],
        committed_ms=int(item["committed_ms"]["N"]),
        suppressed={server: SuppressedIncident.from_json(entry) for server, entry in suppressed.items()},
    )


def _outbox(record: Record) -> bytes:
    """Compressed: alerts repeat themselves, and a long outage must not push the item over DynamoDB's 400 KB."""
    return zlib.compress(json.dumps([alert.to_json() for alert in record.outbox]).encode())


def _conflict(record: Record) -> StateConflictError:
    version = record.state.version
    return StateConflictError(f"group {record.group} of model {record.model_version} moved on from version {version}")
