"""The servers table: numbers without gaps, when each server was last seen, and whether a retired one is back."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.detect.dispatch import FleetSize
from treeline.app.ingest.ports import Receipt, Registration
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.retries import error_code, full_jitter_s, is_transient
from treeline.core.times import iso, parse_iso

COUNTER_ID = "#counter"
_GET_ITEMS = 100  # BatchGetItem's limit
_TRANSACTION_SERVERS = 99  # TransactWriteItems takes 100 items, one of which is the counter
_ATTEMPTS = 12
_BACKOFF_BASE_S = 0.05
_BACKOFF_CAP_S = 1.0
_SEEN_EVERY_MS = 900_000


@dataclass(slots=True)
class _NumberedServer:
    number: int
    last_seen_ms: int
    last_received_ms: int


@dataclass(slots=True)
class DynamoServerRegistry:
    """Looks up and numbers servers, and remembers them for as long as the worker lives: a number never changes.

    `last_seen` (event time), `last_received_at` and `labels` are written at most once per server and quarter of an hour
    of receipt, and may be that much behind.
    """

    client: DynamoDBClient  # safe to share between threads, as boto3's clients are
    _: KW_ONLY
    table: str
    group_size: int
    threads: int  # writes of `last_seen` in flight
    sleep: Callable[[float], None]
    random: Callable[[], float]
    # Told the error when `last_seen` could not be written, which is no reason to fail a batch.
    on_unseen: Callable[[Exception], None]
    _pool: ThreadPoolExecutor = field(init=False)
    _known: dict[str, _NumberedServer] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Threads wait for the table."""
        self._pool = ThreadPoolExecutor(max_workers=self.threads, thread_name_prefix="seen")

    def register(self, receipts: Sequence[Receipt]) -> Registration:
        """Find or give the number of each server, in order of first appearance; see `ServerRegistry`."""
        latest: dict[str, Receipt] = {}
        first: dict[str, Receipt] = {}
        for receipt in receipts:
            server_id = receipt.observation.server_id
            first.setdefault(server_id, receipt)
            best = latest.get(server_id)
            if best is None or receipt.observation.observed_at_ms >= best.observation.observed_at_ms:
                latest[server_id] = receipt
        new_servers = 0
        try:
            self._look_up([server_id for server_id in first if server_id not in self._known])
            unknown = [server_id for server_id in first if server_id not in self._known]
            for i in range(0, len(unknown), _TRANSACTION_SERVERS):
                new_servers += self._number([first[s] for s in unknown[i : i + _TRANSACTION_SERVERS]])
        except (ClientError, BotoCoreError) as error:
            if not is_transient(error):
                raise
        self._note_seen(latest)
        numbers = {s: self._known[s].number for s in first if s in self._known}
        return Registration(numbers=numbers, new_servers=new_servers)

    def _look_up(self, server_ids: Sequence[str]) -> None:
        for i in range(0, len(server_ids), _GET_ITEMS):
            keys: list[Any] = [{"server_id": {"S": s}} for s in server_ids[i : i + _GET_ITEMS]]
            for attempt in range(1, _ATTEMPTS + 1):
                response = self.client.batch_get_item(RequestItems={self.table: {"Keys": keys, "ConsistentRead": True}})
                for item in response.get("Responses", {}).get(self.table, []):
                    self._known[item["server_id"]["S"]] = _NumberedServer(
                        int(item["number"]["N"]),
                        parse_iso(item["last_seen"]["S"]),
                        parse_iso(item["last_received_at"]["S"]),
                    )
                unprocessed = response.get("UnprocessedKeys", {}).get(self.table)
                keys = list(unprocessed["Keys"]) if unprocessed else []
                if not keys:
                    break
                self._back_off(attempt)

    def _number(self, firsts: Sequence[Receipt]) -> int:
        """Give numbers in one transaction with the counter; returns how many, fewer than asked when others did."""
        pending = list(firsts)
        for attempt in range(1, _ATTEMPTS + 1):
            start = server_count(self.client, self.table)
            try:
                self.client.transact_write_items(TransactItems=self._transaction(start, pending))
            except ClientError as error:
                if error_code(error) != "TransactionCanceledException":
                    raise
                # Another worker moved the counter or numbered one of these servers: keep its numbers, try the rest.
                self._look_up([receipt.observation.server_id for receipt in pending])
                pending = [r for r in pending if r.observation.server_id not in self._known]
                if not pending:
                    return 0
                self._back_off(attempt)
                continue
            for number, receipt in enumerate(pending, start):
                observation = receipt.observation
                self._known[observation.server_id] = _NumberedServer(
                    number, observation.observed_at_ms, receipt.received_at_ms
                )
            return len(pending)
        return 0

    def _transaction(self, start: int, receipts: Sequence[Receipt]) -> list[Any]:
        counter = {
            "TableName": self.table,
            "Key": {"server_id": {"S": COUNTER_ID}},
            "UpdateExpression": "SET next_number = :after",
            "ConditionExpression": "next_number = :before"
            if start
            else "attribute_not_exists(next_number) OR next_number = :before",
            "ExpressionAttributeValues": {":before": {"N": str(start)}, ":after": {"N": str(start + len(receipts))}},
        }
        puts = [
            {
                "Put": {
                    "TableName": self.table,
                    "Item": self._item(number, receipt),
                    "ConditionExpression": "attribute_not_exists(server_id)",
                }
            }
            for number, receipt in enumerate(receipts, start)
        ]
        return [{"Update": counter}, *puts]

    def _item(self, number: int, receipt: Receipt) -> dict[str, Any]:
        seen = {"S": iso(receipt.observation.observed_at_ms)}
        return {
            "server_id": {"S": receipt.observation.server_id},
            "number": {"N": str(number)},
            "group": {"N": str(number // self.group_size)},
            "first_seen": seen,
            "last_seen": seen,
            "last_received_at": {"S": iso(receipt.received_at_ms)},
            "labels": {"M": {name: {"S": text} for name, text in receipt.observation.labels.items()}},
        }

    def _note_seen(self, latest: dict[str, Receipt]) -> None:
        due = [
            receipt
            for server_id, receipt in latest.items()
            if server_id in self._known
            and receipt.received_at_ms - self._known[server_id].last_received_ms >= _SEEN_EVERY_MS
        ]
        for receipt, error in zip(due, self._pool.map(self._write_seen, due), strict=True):
            if error is not None:
                self.on_unseen(error)
            known = self._known[receipt.observation.server_id]
            known.last_received_ms = receipt.received_at_ms
            known.last_seen_ms = max(known.last_seen_ms, receipt.observation.observed_at_ms)

    def _write_seen(self, receipt: Receipt) -> Exception | None:
        observation = receipt.observation
        last_seen_ms = max(self._known[observation.server_id].last_seen_ms, observation.observed_at_ms)
        values: dict[str, Any] = {":seen": {"S": iso(last_seen_ms)}, ":received": {"S": iso(receipt.received_at_ms)}}
        sets = "SET last_seen = :seen, last_received_at = :received"
        if observation.labels:  # an observation without labels says nothing about them
            sets += ", labels = :labels"
            values[":labels"] = {"M": {name: {"S": text} for name, text in observation.labels.items()}}
        try:
            response = self.client.update_item(
                TableName=self.table,
                Key={"server_id": {"S": observation.server_id}},
                UpdateExpression=sets,
                ConditionExpression="last_received_at < :received",
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
            self._note_back(response["Attributes"], values[":received"])
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error_code(error) == "ConditionalCheckFailedException":
                return None  # another worker has written a later one
            return error
        return None

    def _note_back(self, server: Mapping[str, Any], received: Any) -> None:
        """A retired server of whose name something was received afterwards counts among the fleet's again."""
        retired_at = server.get("retired_at")
        if retired_at is None or "back_at" in server or received["S"] <= retired_at["S"]:
            return
        back = {
            "TableName": self.table,
            "Key": {"server_id": server["server_id"]},
            "UpdateExpression": "SET back_at = :received",
            "ConditionExpression": "retired_at = :retired AND attribute_not_exists(back_at)",
            "ExpressionAttributeValues": {":received": received, ":retired": retired_at},
        }
        try:
            self.client.transact_write_items(
                TransactItems=[{"Update": back}, {"Update": count_retired(self.table, -1)}]  # type: ignore[typeddict-item]
            )
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise  # else another worker has noted it, or it was retired anew

    def _back_off(self, attempt: int) -> None:
        self.sleep(full_jitter_s(attempt, base_s=_BACKOFF_BASE_S, cap_s=_BACKOFF_CAP_S, random=self.random()))


def server_count(client: DynamoDBClient, table: str) -> int:
    """How many servers have a number, which is the next number to give: one read, however many there are."""
    return fleet_size(client, table).registered


def fleet_size(client: DynamoDBClient, table: str) -> FleetSize:
    """How many servers have a number, and how many of these are retired."""
    response = client.get_item(TableName=table, Key={"server_id": {"S": COUNTER_ID}}, ConsistentRead=True)
    counter = response.get("Item", {})
    registered, retired = (int(counter.get(name, {"N": "0"})["N"]) for name in ("next_number", "retired"))
    return FleetSize(registered=registered, retired=retired)


def count_retired(table: str, change: int) -> dict[str, Any]:
    """The update, for a transaction, that counts so many more servers as retired."""
    return {
        "TableName": table,
        "Key": {"server_id": {"S": COUNTER_ID}},
        "UpdateExpression": "ADD retired :change",
        "ExpressionAttributeValues": {":change": {"N": str(change)}},
    }
