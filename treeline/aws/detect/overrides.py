"""Overrides in the controls table: every entry under kind `threshold`, the newest once more beside the pointers.

Detect reads the pointers to the models (kind `model`) at every tick; the newest entry comes with the same query and
costs no read of its own. Both copies are written in one transaction, which fails where somebody else was faster.
"""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from treeline.app.detect.override import Override
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import Item, item_of, items_of, values_of
from treeline.aws.retries import error_code
from treeline.core.errors import StateConflictError
from treeline.core.times import iso, parse_iso

KIND = "threshold"
CURRENT_KEY: Mapping[str, Any] = {"kind": {"S": "model"}, "id": {"S": "override"}}
_JSON = ("calibration", "policy", "forest")  # as text: the numbers keep every digit


class OverrideTable:
    """Reads and adds entries."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def current(self) -> Override | None:
        """The newest entry; None before the first."""
        item = self._dynamodb.get_item(TableName=self._table, Key=CURRENT_KEY, ConsistentRead=True).get("Item")
        return None if item is None else override_of(item)

    def entry(self, id_: str) -> Override | None:
        """One entry; None where there is none of that id."""
        key = {"kind": {"S": KIND}, "id": {"S": id_}}
        item = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return None if item is None else override_of(item)

    def history(self) -> list[Override]:
        """Every entry, the oldest first."""
        found = items_of(
            self._dynamodb,
            TableName=self._table,
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": KIND}},
            ConsistentRead=True,
        )
        return sorted(map(override_of, found), key=lambda entry: (entry.created_ms, entry.id))

    def put(self, entry: Override, *, after: str) -> None:
        """Add an entry, which counts from now on.

        Args:
            entry: The new one.
            after: Id of the newest entry that the change was made from; empty: there was none.

        Raises:
            StateConflictError: Another one has come in between, and nothing was written.
        """
        values = {**entry.to_json(), **{name: json.dumps(dict(getattr(entry, name))) for name in _JSON}}
        del values["id"], values["created_ms"]
        item = item_of({**values, "created_at": iso(entry.created_ms)})
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(kind)"}
        if after:
            condition = {
                "ConditionExpression": "override_id = :after",
                "ExpressionAttributeValues": {":after": {"S": after}},
            }
        current = {"Item": {**CURRENT_KEY, "override_id": {"S": entry.id}, **item}, **condition}
        kept = {"Item": {"kind": {"S": KIND}, "id": {"S": entry.id}, **item}}
        try:
            self._dynamodb.transact_write_items(
                TransactItems=[{"Put": {"TableName": self._table, **put}} for put in (current, kept)]  # type: ignore[typeddict-item]
            )
        except ClientError as error:
            if error_code(error) == "TransactionCanceledException":
                raise StateConflictError("somebody else changed the override meanwhile: look, and ask again") from error
            raise


def override_of(item: Item) -> Override:
    """Read either copy of an entry."""
    values = values_of(item)
    return Override(
        id=values.get("override_id") or values["id"],
        model_version=values["model_version"],
        **{name: json.loads(values[name]) for name in _JSON},
        source=values["source"],
        reason=values["reason"],
        by=values["by"],
        created_ms=parse_iso(values["created_at"]),
        undo_to=values["undo_to"],
    )
