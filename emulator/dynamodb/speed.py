"""Make the emulator's DynamoDB fast and small enough for a replay of hundreds of thousands of observations.

ministack answers a Query by sorting its whole index partition and evaluating the key condition item by item
(0.6 s a Query at 20,000 items), spends 1.1 ms on each item of a BatchWriteItem and holds 13 KB of
Python objects for an observation of 38 metrics. `install()` changes four things and leaves every request
check, error, filter and projection to ministack's own code:

* an index is a sorted list a partition, kept up to date by the two functions through which all writes pass;
* a Query whose key condition has one of DynamoDB's documented forms reads its page from that list;
* a stored item is one JSON text, so the answer to a plain Query is joined, not rebuilt;
* numbers already in canonical form skip the general parser, and a batch is validated once.

Anything else (multi-attribute keys, binary keys, legacy parameters) takes ministack's own path.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from operator import itemgetter
from types import ModuleType
from typing import Any

from ministack.services import dynamodb

Item = dict[str, Any]
Response = tuple[int, dict[str, str], Any]

SUPPORTED_VERSION = "1.5.33"
_FUNCTIONS = (  # what is replaced, called or reasoned about
    "_accumulate_write_capacity",
    "_add_consumed_capacity",
    "_attribute_value_error",
    "_attribute_value_size",
    "_batch_write_item",
    "_ddb_canonicalize_number",
    "_evaluate_condition",
    "_extract_key_val",
    "_get_attr_type",
    "_index_def",
    "_index_item",
    "_index_key_lists",
    "_index_key_schemas",
    "_index_members",
    "_index_order_keys",
    "_index_partition",
    "_item_size_bytes",
    "_items_replaced",
    "_key_condition_clauses",
    "_normalize_table_name",
    "_number_error",
    "_number_size_bytes",
    "_paginate_evaluated_items",
    "_query",
    "_remove_item",
    "_set_item",
    "_tokenize",
    "_ttl_reaper",
    "_validate_attribute_value",
    "_validate_item",
    "get_state",
    "json_response",
)
_VALUES = ("_DDB_MAX_NESTING_DEPTH", "_DDB_PAGE_SIZE_BYTES", "_INDEX_MEMBERS", "_tables")
_PATCHED = "_treeline_speedup"

# Numbers DynamoDB stores as they are written: at most 18 + 19 digits, no redundant zero, sign or exponent.
_CANONICAL_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}|-?(?:0|[1-9][0-9]{0,17})\.[0-9]{0,18}[1-9]")
_CANONICAL_NUMBERS = re.compile(rf"(?:{_CANONICAL_NUMBER.pattern})(?:\n(?:{_CANONICAL_NUMBER.pattern}))*")
_PREFIX_BYTES = 6  # item size and head length, 3 bytes each: an item is at most 400 KB
_COMPARISONS = {"EQ", "LT", "LE", "GT", "GE"}
_SORT_VALUE = itemgetter(0)


class UnsupportedEmulatorError(RuntimeError):
    """The installed ministack is not the one whose private names this module replaces."""


def check_supported(module: ModuleType, installed: str) -> None:
    """Refuse an emulator whose internals were not read when this module was written.

    Raises:
        UnsupportedEmulatorError: The version is another one, or a private name is missing.
    """
    missing = [name for name in _FUNCTIONS if not callable(getattr(module, name, None))]
    missing += [name for name in _VALUES if not hasattr(module, name)]
    if installed != SUPPORTED_VERSION or missing:
        raise UnsupportedEmulatorError(
            f"emulator.dynamodb.speed is written for ministack {SUPPORTED_VERSION}, found {installed}"
            + (f" without {', '.join(missing)}" if missing else "")
            + "; compare its services/dynamodb.py with the old one, then move SUPPORTED_VERSION"
        )


check_supported(dynamodb, version("ministack"))


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _encode(item: Item, size_bytes: int) -> bytes:
    """An item as prefix + one JSON object, scalar attributes first so that they can be read alone."""
    nested = {name: value for name, value in item.items() if "M" in value or "L" in value}
    head = _dumps({name: value for name, value in item.items() if name not in nested} if nested else item)[:-1]
    tail = b"," + _dumps(nested)[1:] if nested else b"}"
    return size_bytes.to_bytes(3) + len(head).to_bytes(3) + head + tail


def _decode(stored: bytes | Item) -> Item:
    return json.loads(stored[_PREFIX_BYTES:].decode()) if isinstance(stored, bytes) else stored


class _StoredView(Mapping[str, Any]):
    """An item as the TTL reaper sees it: `get` of a scalar attribute does not decode the nested ones."""

    __slots__ = ("_stored",)

    def __init__(self, stored: bytes) -> None:
        self._stored = stored

    def get(self, name: str, default: Any = None) -> Any:
        end = _PREFIX_BYTES + int.from_bytes(self._stored[3:_PREFIX_BYTES])
        head = json.loads(self._stored[_PREFIX_BYTES:end].decode() + "}")
        return head[name] if name in head else _decode(self._stored).get(name, default)

    def __getitem__(self, name: str) -> Any:
        return _decode(self._stored)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_decode(self._stored))

    def __len__(self) -> int:
        return len(_decode(self._stored))


class StoredItems(dict[str, Any]):
    """The items of one table partition by sort key, each held as one JSON text and decoded on every read."""

    __slots__ = ("_speedup",)

    def __init__(self, speedup: _Speedup) -> None:
        super().__init__()
        self._speedup = speedup

    def __setitem__(self, sort_key: str, item: Item) -> None:
        try:
            stored: bytes | Item = _encode(item, self._speedup.item_size_bytes(item))
        except (TypeError, ValueError, OverflowError):
            stored = item  # not expressible as JSON in UTF-8: kept as ministack would keep it
        super().__setitem__(sort_key, stored)

    def stored(self, sort_key: str) -> bytes | Item | None:
        """The text (or, rarely, the object) behind an item; None where there is none."""
        return super().get(sort_key)

    def __getitem__(self, sort_key: str) -> Item:
        return _decode(super().__getitem__(sort_key))

    def get(self, sort_key: str, default: Any = None) -> Any:
        """An item, decoded."""
        stored = super().get(sort_key)
        return default if stored is None else _decode(stored)

    def pop(self, sort_key: str, *default: Any) -> Any:
        """Remove an item and return it, decoded."""
        stored = super().pop(sort_key, *default)
        return _decode(stored) if isinstance(stored, bytes) else stored

    def values(self) -> list[Item]:  # type: ignore[override]
        """All items, decoded."""
        if self._speedup.page_is_planned:
            return []  # the page comes from the sorted list, see _Speedup.paginate
        return [_decode(stored) for stored in super().values()]

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        """Sort keys with read-only views: the TTL reaper is the only caller."""
        return [(k, _StoredView(v) if isinstance(v, bytes) else v) for k, v in super().items()]

    def decoded(self) -> dict[str, Item]:
        """A plain dictionary of plain items, for whoever writes the state to disk."""
        return {sort_key: _decode(stored) for sort_key, stored in super().items()}

    def __deepcopy__(self, memo: object) -> StoredItems:
        # Texts are immutable, so a snapshot (backup, transaction) shares them.
        copied = StoredItems(self._speedup)
        dict.update(copied, dict.items(self))
        return copied

    def __reduce__(self) -> Any:
        raise TypeError("StoredItems is not picklable; use decoded()")


class _IrregularKeyError(ValueError):
    """A key attribute is not of the declared type, so it has no place in a sorted list."""


class KeyIndex:
    """Which items an index holds, by partition: a sorted list where keys allow it, else ministack's dictionary.

    An entry is (sort value, base key values, raw base partition key, raw base sort key).
    """

    def __init__(self, module: ModuleType, table: Item, hashes: list[str], ranges: list[str]) -> None:
        self._module = module
        self._hashes, self._ranges = hashes, ranges
        self.order_keys: list[tuple[str, str]] = module._index_order_keys(table, ranges)
        self.partitions: dict[Any, Any] = {}
        self.is_sorted = len(hashes) == 1 and len(ranges) <= 1 and all(t in "SN" for _, t in self.order_keys)

    def order_value(self, attributes: Item) -> tuple[Any, ...]:
        """The position of an item or start key in its partition."""
        values: list[Any] = []
        for name, key_type in self.order_keys:
            attribute = attributes.get(name)
            text = attribute.get(key_type) if isinstance(attribute, dict) and len(attribute) == 1 else None
            if not isinstance(text, str):
                raise _IrregularKeyError(name)
            values.append(Decimal(text) if key_type == "N" else text)
        return tuple(values)

    def add(self, item: Item, base: tuple[str, str]) -> None:
        """Enter a stored item; items without the index's keys are not members."""
        partition = self._module._index_partition(item, self._hashes, self._ranges)
        if partition is None:
            return
        if self.is_sorted:
            try:
                entry = self.order_value(item) + base
            except _IrregularKeyError:
                self._give_up_order()
            else:
                entries = self.partitions.setdefault(partition, [])
                if not entries or entry > entries[-1]:
                    entries.append(entry)
                else:
                    insort(entries, entry)
                return
        self.partitions.setdefault(partition, {})[base] = None

    def remove(self, item: Item, base: tuple[str, str]) -> None:
        """Take out an item as it was stored."""
        partition = self._module._index_partition(item, self._hashes, self._ranges)
        members = self.partitions.get(partition)
        if members is None:
            return
        if self.is_sorted:
            entry = self.order_value(item) + base
            at = bisect_left(members, entry)
            if at < len(members) and members[at] == entry:
                del members[at]
        else:
            members.pop(base, None)
        if not members:
            del self.partitions[partition]

    def get(self, partition: Any, default: Iterable[tuple[str, str]] = ()) -> Iterable[tuple[str, str]]:
        """The base keys of a partition, as ministack's own Query asks for them."""
        members = self.partitions.get(partition)
        if members is None:
            return default
        return [entry[-2:] for entry in members] if self.is_sorted else list(members)

    def _give_up_order(self) -> None:
        self.is_sorted = False
        self.partitions = {
            partition: {entry[-2:]: None for entry in entries} for partition, entries in self.partitions.items()
        }


@dataclass(frozen=True, slots=True)
class _KeyRange:
    """What a key condition asks of one partition: the slice of its sorted list."""

    partition: str
    conditions: tuple[tuple[str, Any], ...]  # (LT | LE | EQ | GE | GT | PREFIX, sort value)

    def slice_of(self, entries: list[tuple[Any, ...]]) -> tuple[int, int]:
        start, stop = 0, len(entries)
        for operator, value in self.conditions:
            if operator in ("GE", "EQ", "PREFIX"):
                start = bisect_left(entries, value, start, stop, key=_SORT_VALUE)
            elif operator == "GT":
                start = bisect_right(entries, value, start, stop, key=_SORT_VALUE)
            if operator in ("LE", "EQ"):
                stop = bisect_right(entries, value, start, stop, key=_SORT_VALUE)
            elif operator == "LT":
                stop = bisect_left(entries, value, start, stop, key=_SORT_VALUE)
            elif operator == "PREFIX":
                size = len(value)
                stop = bisect_right(entries, value, start, stop, key=lambda entry: entry[0][:size])
        return start, stop


def _bounded(start: int, stop: int, most: int, *, is_forward: bool) -> tuple[int, int]:
    """At most that many entries from the end that is read first: a long partition is not copied for each page."""
    return (start, min(stop, start + most)) if is_forward else (max(start, stop - most), stop)


class _RequestState(threading.local):
    """What the request running in this thread has planned or already checked."""

    page: list[tuple[str, str]] | None = None
    is_plain: bool = False
    texts: list[bytes] | None = None
    validated: set[int] | None = None  # ids of items and number maps that need no second look
    sizes: dict[int, int] | None = None
    skips_capacity: bool = False


class _Speedup:
    """The replacements, bound to the one module object they are installed in."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._original = {name: getattr(module, name) for name in _FUNCTIONS}
        self._request = _RequestState()
        # Writes come from the event loop, from worker threads and from the TTL reaper.
        self._lock = threading.RLock()

    def replacements(self) -> dict[str, Callable[..., Any]]:
        return {
            "_query": self.query,
            "_index_members": self.index_members,
            "_index_item": self.index_item,
            "_set_item": self.set_item,
            "_paginate_evaluated_items": self.paginate,
            "json_response": self.json_response,
            "_batch_write_item": self.batch_write_item,
            "_validate_item": self.validate_item,
            "_accumulate_write_capacity": self.accumulate_write_capacity,
            "_item_size_bytes": self.item_size_bytes,
            "_attribute_value_error": self.attribute_value_error,
            "_validate_attribute_value": self.validate_attribute_value,
            "_attribute_value_size": self.attribute_value_size,
            "_number_error": self.number_error,
            "_ddb_canonicalize_number": self.canonicalize_number,
            "_number_size_bytes": self.number_size_bytes,
            "get_state": self.get_state,
        }

    @property
    def page_is_planned(self) -> bool:
        return self._request.page is not None

    # Indexes

    def index_members(self, table: Item) -> Mapping[str, Any]:
        """Indexes by name. While a page is planned they look empty: `paginate` supplies the items."""
        if self.page_is_planned:
            return _Empty()
        with self._lock:
            members: dict[str | None, KeyIndex] | None = table.get(self._module._INDEX_MEMBERS)
            if members is None:
                members = {
                    name: self._build(table, hashes, ranges)
                    for name, hashes, ranges in self._module._index_key_schemas(table)
                }
                table[self._module._INDEX_MEMBERS] = members
            return members  # type: ignore[return-value]

    def _table_index(self, table: Item) -> KeyIndex:
        """The base table's own order, kept from the first Query without an index."""
        with self._lock:
            members = self.index_members(table)
            if None not in members:
                members[None] = self._build(table, [table["pk_name"]], [table["sk_name"]])  # type: ignore[index]
            return members[None]  # type: ignore[index,no-any-return]

    def _build(self, table: Item, hashes: list[str], ranges: list[str]) -> KeyIndex:
        index = KeyIndex(self._module, table, hashes, ranges)
        for pk, partition in table["items"].items():
            for sk in list(partition):
                index.add(partition[sk], (pk, sk))
        return index

    def index_item(self, table: Item, base_pk: str, base_sk: str, item: Item, add: bool) -> None:
        with self._lock:
            members = table.get(self._module._INDEX_MEMBERS)
            if members is None:
                return
            names = {name for name, _, _ in self._module._index_key_schemas(table)}
            if not names <= members.keys():
                del table[self._module._INDEX_MEMBERS]
                return
            for index in members.values():
                (index.add if add else index.remove)(item, (base_pk, base_sk))

    def set_item(self, table: Item, pk: str, sk: str, item: Item) -> Item | None:
        """Store an item as ministack's `_set_item` does, in a StoredItems partition."""
        pk = sys.intern(pk) if type(pk) is str else pk  # one object for a partition's many index entries
        partition = table["items"].get(pk)
        if not isinstance(partition, StoredItems):
            plain, partition = partition or {}, StoredItems(self)
            for sort_key, stored_item in plain.items():  # written before install() or loaded from disk
                partition[sort_key] = stored_item
            table["items"][pk] = partition
        old_item: Item | None = partition.get(sk)
        if old_item is not None:
            self.index_item(table, pk, sk, old_item, add=False)
        else:
            table["ItemCount"] = table.get("ItemCount", 0) + 1
            table["TableSizeBytes"] = table["ItemCount"] * 200
        partition[sk] = item
        self.index_item(table, pk, sk, item, add=True)
        return old_item

    def get_state(self) -> Item:
        state: Item = self._original["get_state"]()
        for table in state["tables"].all_values():
            for pk, partition in table["items"].items():
                if isinstance(partition, StoredItems):
                    table["items"][pk] = partition.decoded()
        return state

    # Query

    def query(self, data: Item) -> Response:
        request = self._request
        request.page = self._plan(data)
        request.is_plain = request.page is not None and not any(
            data.get(field)
            for field in ("FilterExpression", "QueryFilter", "ProjectionExpression", "AttributesToGet", "Select")
        )
        try:
            response: Response = self._original["_query"](data)
        finally:
            request.page = request.texts = None
            request.is_plain = False
        return response

    def _plan(self, data: Item) -> list[tuple[str, str]] | None:
        """Base keys in answer order, from the start key on; None leaves the request to ministack."""
        module = self._module
        condition, values = data.get("KeyConditionExpression"), data.get("ExpressionAttributeValues")
        names, start_key = data.get("ExpressionAttributeNames") or {}, data.get("ExclusiveStartKey")
        if not isinstance(condition, str) or not isinstance(values, dict) or data.get("KeyConditions"):
            return None
        table_name = module._normalize_table_name(data.get("TableName"))
        table = module._tables.get(table_name) if isinstance(table_name, str) else None
        if not table or not isinstance(names, dict) or not isinstance(start_key, dict | None):
            return None
        index_name = data.get("IndexName")
        if index_name:
            definition = module._index_def(table, index_name)
            if definition is None:
                return None
            hashes, ranges = module._index_key_lists(definition)
        else:
            hashes, ranges = [table["pk_name"]], [table["sk_name"]]
        if len(hashes) != 1 or len(ranges) > 1 or None in (*hashes, *ranges):
            return None
        key_types = {name: module._get_attr_type(table, name) for name in (*hashes, *ranges)}
        key_range = self._key_range(condition, names, values, key_types)
        if key_range is None:
            return None
        with self._lock:
            index = self.index_members(table).get(index_name) if index_name else self._table_index(table)
            if index is None or not index.is_sorted:
                return None
            entries = index.partitions.get(key_range.partition, [])
            start, stop = key_range.slice_of(entries)
            if start_key:
                try:
                    cursor = index.order_value(start_key)
                except _IrregularKeyError:
                    return None
                width = len(cursor)
                if data.get("ScanIndexForward", True):
                    start = max(start, bisect_right(entries, cursor, key=lambda entry: entry[:width]))
                else:
                    stop = min(stop, bisect_left(entries, cursor, key=lambda entry: entry[:width]))
            limit = data.get("Limit")
            if isinstance(limit, int) and limit > 0:  # one more, so that there is seen to be more
                start, stop = _bounded(start, stop, limit + 1, is_forward=data.get("ScanIndexForward", True))
            page = [entry[-2:] for entry in entries[start:stop]]
            if entries and not self._condition_is_valid(table, entries[0][-2:], condition, names, values):
                return None
        if not data.get("ScanIndexForward", True):
            page.reverse()
        return page

    def _condition_is_valid(
        self, table: Item, base: tuple[str, str], condition: str, names: Item, values: Item
    ) -> bool:
        # ministack finds some errors (reserved words, say) only when it evaluates an item.
        item = table["items"].get(base[0], {}).get(base[1])
        try:
            self._module._evaluate_condition(condition, item or {}, values, names, slot="KeyConditionExpression")
        except ValueError:
            return False
        return True

    def _key_range(self, condition: str, names: Item, values: Item, key_types: Item) -> _KeyRange | None:
        """Read `pk = :v [AND sk <op> :v]` in any of DynamoDB's forms; None for another text."""
        tokens = self._module._tokenize(condition)
        if tokens[0][0] == "LPAREN" and tokens[-2][0] == "RPAREN":
            tokens = [*tokens[1:-2], tokens[-1]]
        hash_name, *range_names = key_types
        partition: str | None = None
        conditions: tuple[tuple[str, Any], ...] = ()
        clauses = self._module._key_condition_clauses(tokens)
        for clause in clauses:
            kinds = [kind for kind, _ in clause]
            texts = [text for _, text in clause]
            if kinds == ["IDENT", "LPAREN", kinds[2] if len(kinds) > 2 else "", "COMMA", "VALUE_REF", "RPAREN"]:
                if texts[0].lower() != "begins_with":
                    return None
                kinds, texts = [kinds[2], "PREFIX", "VALUE_REF"], [texts[2], "", texts[4]]
            if len(kinds) < 3 or kinds[0] not in ("IDENT", "NAME_REF"):
                return None
            name = str(names.get(texts[0])) if kinds[0] == "NAME_REF" else texts[0]
            operands = [values.get(text) for kind, text in clause if kind == "VALUE_REF"]
            key_type = key_types.get(name)
            read = [o.get(key_type) for o in operands if isinstance(o, dict) and len(o) == 1]
            if key_type not in ("S", "N") or not read or len(read) != len(operands):
                return None
            if not all(isinstance(text, str) for text in read):
                return None
            if key_type == "N" and not all(_CANONICAL_NUMBER.fullmatch(text) for text in read):
                return None
            sort_values = [Decimal(text) for text in read] if key_type == "N" else read
            is_between = kinds[1:] == ["IDENT", "VALUE_REF", "IDENT", "VALUE_REF"] and (
                texts[1].upper(),
                texts[3].upper(),
            ) == ("BETWEEN", "AND")
            is_comparison = len(kinds) == 3 and kinds[2] == "VALUE_REF" and kinds[1] in (*_COMPARISONS, "PREFIX")
            if name == hash_name and is_comparison and kinds[1] == "EQ" and partition is None:
                partition = read[0]
            elif name not in range_names or conditions or (kinds[1] == "PREFIX" and key_type != "S"):
                return None
            elif is_between:
                conditions = (("GE", sort_values[0]), ("LE", sort_values[1]))
            elif is_comparison:
                conditions = ((kinds[1], sort_values[0]),)
            else:
                return None
        return None if partition is None else _KeyRange(partition, conditions)

    def paginate(
        self, items: Iterable[Item], limit: Any, table: Item, index_name: str | None = None
    ) -> tuple[list[Item], bool]:
        """One page of a Query or Scan, from the planned keys where there are some."""
        planned = self._request.page
        if planned is None:
            return self._original["_paginate_evaluated_items"](items, limit, table, index_name)  # type: ignore[no-any-return]
        partitions = table["items"]
        definition = self._module._index_def(table, index_name) if index_name else None
        projection = ((definition or {}).get("Projection") or {}).get("ProjectionType", "ALL")
        if not self._request.is_plain or projection != "ALL":
            found = (partitions.get(pk, {}).get(sk) for pk, sk in planned)
            existing = (item for item in found if item is not None)
            return self._original["_paginate_evaluated_items"](existing, limit, table, index_name)  # type: ignore[no-any-return]
        return self._plain_page(planned, limit, partitions)

    def _plain_page(
        self, planned: list[tuple[str, str]], limit: Any, partitions: Mapping[str, Any]
    ) -> tuple[list[Item], bool]:
        """The page's texts, kept for the answer; ministack only reads the last item, for its key."""
        texts: list[bytes] = []
        page_bytes, max_items, is_full = 0, int(limit) if limit is not None else sys.maxsize, False
        for pk, sk in planned:
            partition = partitions.get(pk)
            if partition is None:
                continue
            stored = partition.stored(sk) if isinstance(partition, StoredItems) else partition.get(sk)
            if stored is None:
                continue
            if not isinstance(stored, bytes):
                stored = _encode(stored, self.item_size_bytes(stored))
            size = int.from_bytes(stored[:3])
            is_full = bool(texts) and page_bytes + size > self._module._DDB_PAGE_SIZE_BYTES
            if is_full:
                break
            texts.append(stored)
            page_bytes += size
            is_full = len(texts) >= max_items or page_bytes >= self._module._DDB_PAGE_SIZE_BYTES
            if is_full:
                break
        self._request.texts = texts
        placeholders: list[Item] = [{}] * len(texts)
        if texts:
            placeholders[-1] = _decode(texts[-1])
        return placeholders, is_full

    def json_response(self, data: Item, status: int = 200, **options: Any) -> Response:
        texts = self._request.texts
        response: Response = self._original["json_response"](data, status, **options)
        if texts is None or "Items" not in data:
            return response
        rest = _dumps({name: value for name, value in data.items() if name != "Items"})
        joined = b",".join([text[_PREFIX_BYTES:] for text in texts])
        return response[0], response[1], b'{"Items":[' + joined + b"]," + rest[1:]

    # Writes

    def batch_write_item(self, data: Item) -> Response:
        request = self._request
        request.validated, request.sizes = set(), {}
        request.skips_capacity = data.get("ReturnConsumedCapacity", "NONE") == "NONE"
        try:
            response: Response = self._original["_batch_write_item"](data)
        finally:
            request.validated = request.sizes = None
            request.skips_capacity = False
        return response

    def validate_item(self, item: Item, *args: Any, **kwargs: Any) -> Response | None:
        # The items of a batch outlive the call, so their ids stay theirs; validating twice changes nothing.
        validated = self._request.validated
        if validated is not None and id(item) in validated:
            return None
        error: Response | None = self._original["_validate_item"](item, *args, **kwargs)
        if validated is not None and error is None:
            validated.add(id(item))
        return error

    def accumulate_write_capacity(self, *args: Any) -> None:
        if not self._request.skips_capacity:
            self._original["_accumulate_write_capacity"](*args)

    def item_size_bytes(self, item: Item) -> int:
        """DynamoDB's size of an item, computed once in a batch."""
        sizes = self._request.sizes
        if sizes is None:
            return self._original["_item_size_bytes"](item)  # type: ignore[no-any-return]
        if id(item) not in sizes:
            sizes[id(item)] = self._original["_item_size_bytes"](item)
        return sizes[id(item)]

    # Numbers: an observation is mostly one map of them

    def _number_texts(self, value: Any) -> list[str] | None:
        """The numbers of a map that holds only canonical numbers, else None."""
        if not isinstance(value, dict) or len(value) != 1 or not isinstance(value.get("M"), dict):
            return None
        children = value["M"].values()
        try:
            texts = [child["N"] for child in children if len(child) == 1]
            joined = "\n".join(texts)
        except (TypeError, KeyError):
            return None
        validated = self._request.validated
        if validated is not None and id(value) in validated:
            return texts
        if not texts or len(texts) != len(children) or joined.count("\n") != len(texts) - 1:
            return None
        if not _CANONICAL_NUMBERS.fullmatch(joined):
            return None
        if validated is not None:
            validated.add(id(value))
        return texts

    def attribute_value_error(self, value: Any) -> str | None:
        if self._number_texts(value):
            return None
        return self._original["_attribute_value_error"](value)  # type: ignore[no-any-return]

    def validate_attribute_value(self, name: str, value: Any, depth: int = 1) -> Response | None:
        if depth < self._module._DDB_MAX_NESTING_DEPTH and self._number_texts(value):
            return None
        return self._original["_validate_attribute_value"](name, value, depth)  # type: ignore[no-any-return]

    def attribute_value_size(self, value: Any) -> int:
        texts = self._number_texts(value)
        if not texts:
            return self._original["_attribute_value_size"](value)  # type: ignore[no-any-return]
        # 3 bytes for the map, 1 for each entry, then the name and the number (see number_size_bytes).
        numbers = sum(
            1 + (dot + 1) // 2 + (len(text) - dot) // 2
            if (dot := text.find(".")) > 0 and text[0] >= "1"
            else self.number_size_bytes(text)
            for text in texts
        )
        return 3 + len(texts) + len("".join(value["M"]).encode()) + numbers

    def number_error(self, text: Any) -> str | None:
        if isinstance(text, str) and _CANONICAL_NUMBER.fullmatch(text):
            return None
        return self._original["_number_error"](text)  # type: ignore[no-any-return]

    def canonicalize_number(self, text: Any) -> str | None:
        if isinstance(text, str) and _CANONICAL_NUMBER.fullmatch(text):
            return text
        return self._original["_ddb_canonicalize_number"](text)  # type: ignore[no-any-return]

    def number_size_bytes(self, text: Any) -> int:
        if not isinstance(text, str) or "." not in text or not _CANONICAL_NUMBER.fullmatch(text):
            return self._original["_number_size_bytes"](text)  # type: ignore[no-any-return]
        whole, _, fraction = text.removeprefix("-").partition(".")
        if whole == "0":
            pairs = (len(fraction) + 1) // 2 - (len(fraction) - len(fraction.lstrip("0"))) // 2
        else:
            pairs = (len(whole) + 1) // 2 + (len(fraction) + 1) // 2
        return 1 + pairs + (text[0] == "-")


class _Empty(dict[str, Any]):
    """Indexes without members, whatever the name."""

    def get(self, name: str, default: Any = None) -> Any:
        return {}


def install(module: ModuleType = dynamodb) -> None:
    """Replace the slow parts of ministack's DynamoDB, once; best before the first item is written.

    Args:
        module: ministack's `services.dynamodb`, or a private copy of it in a test.

    Raises:
        UnsupportedEmulatorError: ministack is not the version this was written for.
    """
    check_supported(module, version("ministack"))
    if hasattr(module, _PATCHED):
        return
    speedup = _Speedup(module)
    setattr(module, _PATCHED, speedup)
    for name, replacement in speedup.replacements().items():
        setattr(module, name, replacement)
    for table in module._tables.all_values():
        table.pop(module._INDEX_MEMBERS, None)  # ministack's own index, built by an earlier Query
