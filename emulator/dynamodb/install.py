"""Puts our functions in the place of six of ministack's."""

import sys
from importlib.metadata import version
from types import ModuleType

from ministack.services import dynamodb

from emulator.dynamodb.key_index import Item
from emulator.dynamodb.plain_batches import PlainBatches
from emulator.dynamodb.range_queries import RangeQueries
from emulator.dynamodb.stored_items import SizedItem, StoredItems

SUPPORTED_VERSION = "1.5.33"  # the names used of it are listed in tests/emulator/test_ministack_names.py
_INSTALLED = "_treeline_installed"


class UnsupportedEmulatorError(RuntimeError):
    """The installed ministack is not the one whose private functions were read when these modules were written."""


def install(module: ModuleType = dynamodb) -> None:
    """Put our functions in the place of ministack's (in a test, of a copy), once and before the first item is written.

    Raises:
        UnsupportedEmulatorError: ministack is not the version this was written for.
    """
    if (installed := version("ministack")) != SUPPORTED_VERSION:
        raise UnsupportedEmulatorError(
            f"emulator.dynamodb is written for ministack {SUPPORTED_VERSION}, found {installed}; "
            "compare its services/dynamodb.py with the old one, then move SUPPORTED_VERSION"
        )
    if hasattr(module, _INSTALLED):
        return
    queries, batches = RangeQueries(module), PlainBatches(module)
    set_item, item_size_bytes = module._set_item, module._item_size_bytes

    def size_of(item: Item) -> int:
        return item.size_bytes if isinstance(item, SizedItem) else int(item_size_bytes(item))

    def set_stored(table: Item, pk: str, sk: str, item: Item) -> Item | None:
        pk = sys.intern(pk)  # one object for a partition's many index entries
        items = table["items"]
        if not isinstance(items.get(pk), StoredItems):
            items[pk] = StoredItems(size_of, items.get(pk, {}))
        old: Item | None = set_item(table, pk, sk, item)
        return old

    replacements = {
        "_batch_write_item": batches.batch_write_item,
        "_index_item": queries.index_item,
        "_index_members": queries.indexes,
        "_item_size_bytes": size_of,
        "_query": queries.query,
        "_set_item": set_stored,
        _INSTALLED: True,
    }
    for name, replacement in replacements.items():
        setattr(module, name, replacement)
