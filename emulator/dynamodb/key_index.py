"""Which items a table or index holds, by partition and in order, so that a Query can look up where its range is."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from types import ModuleType
from typing import Any

Item = dict[str, Any]
BaseKey = tuple[str, str]  # partition key and sort key of the table, as ministack files an item
Entry = tuple[Any, ...]  # what ministack would sort by, then the two parts of the base key


class ReadableKeys(threading.local):
    """What the Query that runs in this thread may read, where its range was looked up; None is everything."""

    keys: list[BaseKey] | None = None


PAGE = ReadableKeys()


class KeyIndex:
    """A sorted list of entries for each partition; stands where ministack has a dictionary without order."""

    def __init__(self, module: ModuleType, table: Item, hashes: list[str], ranges: list[str]) -> None:
        self._module = module
        self._hashes, self._ranges = hashes, ranges  # names of the attributes of partition key and sort key
        self._order: list[tuple[str, str]] = module._index_order_keys(table, ranges)
        self.partitions: dict[Any, list[Entry]] = {}
        for pk, items in table["items"].items():
            for sk in list(items):
                self.add(items[sk], (pk, sk))

    def position(self, attributes: Item) -> Entry:
        """Where an item, or the key of one, stands in its partition."""
        return tuple(self._module._index_order_value(attributes, name, kind) for name, kind in self._order)

    def add(self, item: Item, base: BaseKey) -> None:
        """Enter an item; one without the index's keys is no member."""
        partition = self._module._index_partition(item, self._hashes, self._ranges)
        if partition is not None:
            insort(self.partitions.setdefault(partition, []), (*self.position(item), *base))

    def remove(self, item: Item, base: BaseKey) -> None:
        """Take an item out, given as it was when it was entered."""
        partition = self._module._index_partition(item, self._hashes, self._ranges)
        entries = self.partitions.get(partition, [])
        entry = (*self.position(item), *base)
        at = bisect_left(entries, entry)
        if at < len(entries) and entries[at] == entry:
            del entries[at]

    def get(self, partition: Any, default: Iterable[BaseKey] = ()) -> Iterable[BaseKey]:
        """The base keys of a partition, as ministack's Query asks for them."""
        if PAGE.keys is not None:
            return PAGE.keys
        return [entry[-2:] for entry in self.partitions.get(partition, [])]


def within(entries: list[Entry], operator: str, values: list[Any]) -> tuple[int, int]:
    """The slice of a partition whose sort value is `operator` `values`: BETWEEN has two, any other operator one."""

    def before(value: Any) -> int:
        return bisect_left(entries, value, key=_sort_value)

    def behind(value: Any) -> int:
        return bisect_right(entries, value, key=_sort_value)

    start = {">": behind, "<": None, "<=": None}.get(operator, before)
    stop = {"<": before, ">": None, ">=": None}.get(operator, behind)
    return start(values[0]) if start else 0, stop(values[-1]) if stop else len(entries)


def split(entries: list[Entry], position: Entry) -> tuple[int, int]:
    """Where what comes after `position` starts, and where what comes before it ends."""

    def head(entry: Entry) -> Entry:
        return entry[: len(position)]

    return bisect_right(entries, position, key=head), bisect_left(entries, position, key=head)


def _sort_value(entry: Entry) -> Any:
    return entry[0]
