"""Items as JSON text: an observation of 38 metrics takes 1.5 KB so, and 13 KB as ministack's own Python objects."""

import json
from collections.abc import Callable
from typing import Any

from emulator.dynamodb.key_index import PAGE, Item


class SizedItem(Item):
    """An item out of the store, with its size as DynamoDB counts it."""

    __slots__ = ("size_bytes",)

    def __init__(self, item: Item, size_bytes: int) -> None:
        super().__init__(item)
        self.size_bytes = size_bytes


class StoredItems(dict[str, Any]):
    """The items of one table partition by sort key, each written at once and decoded at every read.

    What is kept of an item is (size, text). The text is one JSON object, its scalar attributes first, and a line break
    behind them, which is in no other place.
    """

    def __init__(self, size_of: Callable[[Item], int], items: dict[str, Item]) -> None:
        super().__init__()
        self._size_of = size_of  # by DynamoDB's rules, bytes
        for sort_key, item in items.items():
            self[sort_key] = item

    def size_bytes(self, sort_key: str) -> int:
        """The size of an item, 0 where there is none."""
        size: int = super().get(sort_key, (0, ""))[0]
        return size

    def text(self, sort_key: str) -> str:
        """An item as JSON text."""
        text: str = super().__getitem__(sort_key)[1]
        return text

    def __setitem__(self, sort_key: str, item: Item) -> None:
        nested = {name: value for name, value in item.items() if "M" in value or "L" in value}
        scalars = {name: value for name, value in item.items() if name not in nested} if nested else item
        text = _dumps(scalars)[:-1] + "\n" + ("," + _dumps(nested)[1:] if nested else "}")
        super().__setitem__(sort_key, (self._size_of(item), text))

    def __getitem__(self, sort_key: str) -> Item:
        return _decoded(*super().__getitem__(sort_key))

    def get(self, sort_key: str, default: Any = None) -> Any:
        """An item, decoded."""
        return self[sort_key] if sort_key in self else default  # noqa: SIM401 -- it is what get is made of

    def pop(self, sort_key: str, default: Any = None) -> Any:
        """Remove an item and return it, decoded."""
        return _decoded(*super().pop(sort_key)) if sort_key in self else default

    def values(self) -> list[Item]:  # type: ignore[override]  # dict's own is a view of what is stored
        """The items that the Query in this thread may read, decoded; all where no page was looked up."""
        if PAGE.keys is not None:
            return [self[sort_key] for _, sort_key in PAGE.keys if sort_key in self]
        return [_decoded(*stored) for stored in super().values()]

    def items(self) -> list[tuple[str, Item]]:  # type: ignore[override]  # as above
        """Sort keys with the scalar attributes: the only one who asks is ministack's reaper, for times to live."""
        return [(sort_key, json.loads(text.partition("\n")[0] + "}")) for sort_key, (_, text) in super().items()]

    def __deepcopy__(self, memo: object) -> "StoredItems":
        copied = StoredItems(self._size_of, {})
        dict.update(copied, dict.items(self))  # what is stored is never changed, so a backup can share it
        return copied


def _dumps(value: Item) -> str:
    return json.dumps(value, separators=(",", ":"))


def _decoded(size_bytes: int, text: str) -> SizedItem:
    return SizedItem(json.loads(text), size_bytes)
