"""The last retraining that drift asked for, in the controls table."""

from typing import Any

from botocore.exceptions import ClientError

from treeline.app.learn.drift import Retraining
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.retries import error_code

_RETRAINING = {"kind": {"S": "retraining"}, "id": {"S": "last"}}


class RetrainingTable:
    """See `treeline.app.learn.drift.Retrainings`."""

    def __init__(self, dynamodb: DynamoDBClient, *, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def last(self) -> Retraining | None:
        """The last one; None before the first."""
        item = self._dynamodb.get_item(TableName=self._table, Key=_RETRAINING, ConsistentRead=True).get("Item")
        return None if item is None else Retraining(at=int(item["at"]["N"]), run_id=item["run_id"]["S"])

    def claim(self, at: int, before: Retraining | None) -> bool:
        """Enter one at `at`, if the last still is `before`; whether that was so."""
        return self._put(Retraining(at=at), expected=before)

    def started(self, at: int, run_id: str) -> None:
        """Note which run it became."""
        self._put(Retraining(at=at, run_id=run_id), expected=Retraining(at=at))

    def withdraw(self, at: int, before: Retraining | None) -> None:
        """Take a claim back whose run could not be started."""
        if before is not None:
            self._put(before, expected=Retraining(at=at))
            return
        self._dynamodb.delete_item(TableName=self._table, Key=_RETRAINING)

    def _put(self, retraining: Retraining, *, expected: Retraining | None) -> bool:
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(kind)"}
        if expected is not None:
            condition = {
                "ConditionExpression": "#at = :before",
                "ExpressionAttributeNames": {"#at": "at"},
                "ExpressionAttributeValues": {":before": {"N": str(expected.at)}},
            }
        item = {**_RETRAINING, "at": {"N": str(retraining.at)}, "run_id": {"S": retraining.run_id}}
        try:
            self._dynamodb.put_item(TableName=self._table, Item=item, **condition)
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True
