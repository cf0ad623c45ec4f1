"""A batch of plain items is written after one look at each.

ministack looks at every value of a BatchWriteItem half a dozen times, 1 ms an item of 38 metrics. What is written most
are observations: strings, numbers, and one level of maps of them. A batch of nothing else is checked and measured here
in one pass; a batch with anything else in it, an error above all, is ministack's.
"""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from emulator.dynamodb.key_index import Item
from emulator.dynamodb.stored_items import SizedItem

Response = tuple[int, dict[str, str], Any]
# Numbers that DynamoDB stores as they are written: at most 18 + 19 digits, no redundant zero, sign or exponent.
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}|-?(?:0|[1-9][0-9]{0,17})\.[0-9]{0,18}[1-9]")
_DEEPEST = 2  # a map of an item's own; ministack counts the levels below


class PlainBatches:
    """ministack's `_batch_write_item`; made before anything of its module is replaced."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._answer: Callable[[Item], Response] = module._batch_write_item

    def batch_write_item(self, data: Item) -> Response:
        """Write a batch; takes the place of `_batch_write_item`."""
        module = self._module
        requests = data.get("RequestItems")
        if data.keys() != {"RequestItems"} or not isinstance(requests, dict) or len(requests) != 1:
            return self._answer(data)
        [(name, puts)] = requests.items()
        table = module._tables.get(module._normalize_table_name(name))
        can_be_plain = table and isinstance(puts, list) and 0 < len(puts) <= module._DDB_BATCH_WRITE_MAX
        writes = self._writes(table, puts) if can_be_plain else None
        if writes is None:
            return self._answer(data)
        for (pk, sk), item in writes.items():
            old = module._set_item(table, pk, sk, item)
            module._emit_stream_event(module._normalize_table_name(name), "MODIFY" if old else "INSERT", old, item)
        answer: Response = module.json_response({"UnprocessedItems": {}})
        return answer

    def _writes(self, table: Item, puts: list[Any]) -> dict[tuple[str, str], SizedItem] | None:
        """The items by key; None unless every request is the put of a plain item, each of another key."""
        module, writes = self._module, dict[tuple[str, str], SizedItem]()
        for put in puts:
            try:
                item = put["PutRequest"]["Item"]
                size_bytes = sum(len(name.encode()) + _value_bytes(value, 1) for name, value in item.items())
            except (ValueError, TypeError, KeyError, AttributeError):
                return None  # not plain, or not a request at all: ministack says which
            pk, sk, error = module._resolve_table_key_values(table, item, allow_extra=True)
            error = error or module._key_length_error(item, table["pk_name"], table["sk_name"])
            if error or module._validate_index_key_values(table, item) or size_bytes > module._DDB_ITEM_MAX_BYTES:
                return None
            writes[pk, sk] = SizedItem(item, size_bytes)
        return writes if len(writes) == len(puts) else None


def _value_bytes(value: Item, depth: int) -> int:
    """DynamoDB's size of a plain value, whose numbers get their canonical form; ValueError for any other one."""
    [(kind, content)] = value.items()
    if kind == "N":
        number: str = content.removesuffix(".0")
        if _NUMBER.fullmatch(number):
            value["N"] = number
            return number_bytes(number)
    elif kind == "S":
        return len(content.encode())
    elif kind == "M" and depth < _DEEPEST:
        return 3 + sum(1 + len(name.encode()) + _value_bytes(child, depth + 1) for name, child in content.items())
    raise ValueError(f"not a plain value: {kind}")


def number_bytes(number: str) -> int:
    """DynamoDB's size of a canonical number: 1, one for each pair of digits counted from the point, and the sign."""
    whole, _, fraction = number.removeprefix("-").partition(".")
    pairs = (len(whole) + 1) // 2 + (len(fraction) + 1) // 2
    if whole == "0":
        pairs -= 1 + (len(fraction) - len(fraction.lstrip("0"))) // 2
    elif not fraction:
        pairs -= (len(whole) - len(whole.rstrip("0"))) // 2
    return 1 + pairs + number.startswith("-")
