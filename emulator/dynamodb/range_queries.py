"""A Query reads the page it answers with, not its whole partition.

ministack answers every Query by sorting a partition and evaluating the key condition item by item: 0.6 s at 20,000
items. Here the key condition is looked up in a sorted list first, and ministack's own code then runs on the items of
that page alone: every check, filter, projection and error stays its own. Of a page of whole items it sees the last one,
which says where the next page starts; the answer is joined from what is stored. A condition of another form than
`key = :v [AND sort <operator> :v]`, which begins_with and attribute names out of the ordinary are, reads the partition.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from emulator.dynamodb.key_index import PAGE, BaseKey, Entry, Item, KeyIndex, split, within
from emulator.dynamodb.stored_items import StoredItems

Response = tuple[int, dict[str, str], Any]
_CLAUSE = r"([#\w]+)\s*(=|<=|>=|<|>|BETWEEN)\s*(:\w+)(?:\s+AND\s+(:\w+))?"
# A request of no other parameters is answered with the items of its range as they are.
_PLAIN = {"TableName", "IndexName", "KeyConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"}
_PLAIN |= {"Limit", "ExclusiveStartKey", "ScanIndexForward", "ConsistentRead"}
_CONDITION = re.compile(rf"\s*{_CLAUSE}(?:\s+AND\s+{_CLAUSE})?\s*", re.IGNORECASE)


@dataclass(slots=True)
class _Page:
    """What may be in an answer, None: the whole partition; `texts` where these items are the answer for certain."""

    keys: list[BaseKey] | None = None
    texts: list[str] = field(default_factory=list)
    is_full: bool = False


class RangeQueries:
    """ministack's `_query`, and the two functions by which it keeps its indexes; made before any is replaced."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._answer: Callable[[Item], Response] = module._query
        self._lock = threading.RLock()  # writes come from the event loop, from worker threads and from the reaper

    def indexes(self, table: Item) -> dict[str | None, KeyIndex]:
        """The table's indexes by name, made at the first Query; takes the place of `_index_members`."""
        with self._lock:
            members: dict[str | None, KeyIndex] | None = table.get(self._module._INDEX_MEMBERS)
            if members is None:
                schemas = self._module._index_key_schemas(table)
                members = {name: KeyIndex(self._module, table, hashes, ranges) for name, hashes, ranges in schemas}
                table[self._module._INDEX_MEMBERS] = members
            return members

    def index_item(self, table: Item, base_pk: str, base_sk: str, item: Item, add: bool) -> None:
        """Enter a written item, or take a deleted one out; takes the place of `_index_item`."""
        with self._lock:
            members: dict[str | None, KeyIndex] | None = table.get(self._module._INDEX_MEMBERS)
            if members is None:
                return
            if not {name for name, _, _ in self._module._index_key_schemas(table)} <= members.keys():
                del table[self._module._INDEX_MEMBERS]  # an index was created: all are made anew
                return
            for index in members.values():
                (index.add if add else index.remove)(item, (base_pk, base_sk))

    def query(self, data: Item) -> Response:
        """Answer a Query; takes the place of `_query`."""
        page = self._page(data)
        count = len(page.texts)
        PAGE.keys = page.keys[count - 1 : count] if page.keys and count else page.keys
        try:
            status, headers, body = self._answer(data | {"Limit": 1} if count and page.is_full else data)
        finally:
            PAGE.keys = None
        if count and status == 200:
            rest = json.loads(body) | {"Count": count, "ScannedCount": count}
            del rest["Items"]
            body = f'{{"Items": [{",".join(page.texts)}], {json.dumps(rest)[1:]}'.encode()
        return status, headers, body

    def _page(self, data: Item) -> _Page:
        """What may be in the answer; the partition where the request is not one of those that are looked up here."""
        module = self._module
        name, index_name = data.get("TableName"), data.get("IndexName")
        table = module._tables.get(module._normalize_table_name(name)) if isinstance(name, str) else None
        definition = module._index_def(table, index_name) if table and index_name else None
        clauses = _clauses(data)
        if not table or not clauses or bool(index_name) != bool(definition):
            return _Page()
        hashes, ranges = module._index_key_lists(definition) if definition else ([table["pk_name"]], [table["sk_name"]])
        operator, partition = clauses.pop(hashes[0], ("", []))
        if operator != "=" or len(hashes) != 1 or len(ranges) > 1 or clauses.keys() - set(ranges):
            return _Page()
        with self._lock:
            index = self.indexes(table).get(index_name)
            if index is None:  # the table's own, which only a Query without an index needs
                index = KeyIndex(module, table, hashes, [name for name in ranges if name])
                self.indexes(table)[None] = index
            entries = index.partitions.get(module._extract_key_val(partition[0]), [])
            start, stop = 0, len(entries)
            for name, (operator, values) in clauses.items():
                kind = module._get_attr_type(table, name)
                start, stop = within(entries, operator, [module._sort_key_value(value, kind) for value in values])
            is_forward = data.get("ScanIndexForward", True)
            if isinstance(data.get("ExclusiveStartKey"), dict):
                cursor = index.position(data["ExclusiveStartKey"])
                after, before = split(entries, cursor)
                start, stop = (max(start, after), stop) if is_forward else (start, min(stop, before))
            found = entries[start:stop] if is_forward else entries[start:stop][::-1]
            projection = ((definition or {}).get("Projection") or {}).get("ProjectionType", "ALL")
            page = self._first_page(table["items"], projection == "ALL", found, data.get("Limit"))
        # ministack finds some errors only when it evaluates an item: where none is in range, it gets another.
        page.keys = page.keys or [entry[-2:] for entry in entries[:1]]
        if not data.keys() <= _PLAIN:
            page.texts.clear()
        return page

    def _first_page(self, stored: Item, is_whole: bool, found: list[Entry], limit: Any) -> _Page:
        """As many keys as ministack can need for one page, from the first on; their texts where all are whole items."""
        most = limit if isinstance(limit, int) else len(found)
        keys: list[BaseKey] = []
        texts: list[str] = []
        page_bytes = 0
        for entry in found[: max(most, 0)]:
            pk, sk = entry[-2:]
            items = stored.get(pk)
            keys.append((pk, sk))
            if not (is_whole and isinstance(items, StoredItems) and sk in items):
                is_whole = False  # what the index leaves out makes an entry smaller: it ends no page here
                continue
            page_bytes += items.size_bytes(sk)
            if page_bytes > self._module._DDB_PAGE_SIZE_BYTES:
                break
            texts.append(items.text(sk))
        is_full = page_bytes >= self._module._DDB_PAGE_SIZE_BYTES or len(keys) == limit
        return _Page(keys, texts if is_whole else [], is_full)


def _clauses(data: Item) -> dict[str, tuple[str, list[Item]]]:
    """The key condition: attribute -> operator and values; empty where it has another form."""
    condition, values = data.get("KeyConditionExpression"), data.get("ExpressionAttributeValues")
    names = data.get("ExpressionAttributeNames") or {}
    match = _CONDITION.fullmatch(condition) if isinstance(condition, str) else None
    if match is None or not isinstance(values, dict) or not isinstance(names, dict):
        return {}
    clauses: dict[str, tuple[str, list[Item]]] = {}
    for name, operator, *references in (match.groups()[:4], match.groups()[4:]):
        if name is None:
            continue
        operands = [values[reference] for reference in references if _is_text(values.get(reference))]
        attribute, operator = str(names.get(name, name)), operator.upper()
        if attribute in clauses or len(operands) != (2 if operator == "BETWEEN" else 1):
            return {}
        clauses[attribute] = operator, operands
    return clauses


def _is_text(value: Any) -> bool:
    """Whether a value holds a text, as those of a key do."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), str)
