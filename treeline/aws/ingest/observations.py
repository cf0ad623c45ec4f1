"""The observations table: appends in batch writes of 25 items, parallel over servers, in order within each."""

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.ingest.ports import AppendResult, NumberedReceipt
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.retries import error_code, full_jitter_s, is_transient
from treeline.core.times import iso

_BATCH_ITEMS = 25  # BatchWriteItem's limit
_ATTEMPTS = 6
_BACKOFF_BASE_S = 0.05
_BACKOFF_CAP_S = 2.0
SOURCE = "kinesis"


def to_item(row: NumberedReceipt, *, ttl_s: int) -> dict[str, Any]:
    """The table's item. Made by hand: boto3's TypeSerializer takes longer than the write of 38 metrics itself.

    A float is written as its repr, the shortest text that reads back to the same float; expiry counts from receipt,
    so that a replay of an old day is not expired as it comes in.
    """
    observation = row.receipt.observation
    received_at_ms = row.receipt.received_at_ms
    observed_at = iso(observation.observed_at_ms)
    return {
        "server_id": {"S": observation.server_id},
        "observed_at": {"S": observed_at},
        "group": {"N": str(row.group)},
        "group_sort": {"S": f"{observed_at}#{observation.server_id}"},
        "metrics": {"M": {name: {"N": repr(value)} for name, value in observation.metrics.items()}},
        "labels": {"M": {name: {"S": text} for name, text in observation.labels.items()}},
        "received_at": {"S": iso(received_at_ms)},
        "source": {"S": SOURCE},
        "expires_at": {"N": str(received_at_ms // 1000 + ttl_s)},
    }


@dataclass(slots=True)
class DynamoObservationStore:
    """Appends observations; several threads wait for the table at once."""

    client: DynamoDBClient  # safe to share between threads, as boto3's clients are
    _: KW_ONLY
    table: str
    ttl_s: int  # how long an observation is kept, counted from its receipt
    threads: int  # batch writes in flight; the client's connection pool should hold as many
    sleep: Callable[[float], None]
    random: Callable[[], float]
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        """Threads wait for the table."""
        self._pool = ThreadPoolExecutor(max_workers=self.threads, thread_name_prefix="append")

    def append(self, rows: Sequence[NumberedReceipt]) -> AppendResult:
        """Write all rows; see `ObservationStore`. Raises what is our own mistake, such as a missing permission."""
        lanes: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            lane = zlib.crc32(row.receipt.observation.server_id.encode()) % self.threads
            lanes.setdefault(lane, []).append(i)
        for members in lanes.values():  # a batch may hold them in another order than they were observed in
            members.sort(key=lambda i: rows[i].receipt.observation.observed_at_ms)
        failed: list[int] = []
        refused: dict[int, str] = {}
        for result in self._pool.map(lambda lane: self._append_lane(rows, lane), lanes.values()):
            failed.extend(result.failed)
            refused.update(result.refused)
        return AppendResult(failed=failed, refused=refused)

    def _append_lane(self, rows: Sequence[NumberedReceipt], lane: Sequence[int]) -> AppendResult:
        """Write the observations of some servers in event-time order, and none past a failure.

        Detect may read while we write: a server's later observations must not be there before its earlier ones,
        or the earlier ones come late.
        """
        refused: dict[int, str] = {}
        for start in range(0, len(lane), _BATCH_ITEMS):
            result = self._append_chunk(rows, lane[start : start + _BATCH_ITEMS])
            refused.update(result.refused)
            if result.failed:
                return AppendResult(failed=[*result.failed, *lane[start + _BATCH_ITEMS :]], refused=refused)
        return AppendResult(failed=[], refused=refused)

    def _append_chunk(self, rows: Sequence[NumberedReceipt], chunk: Sequence[int]) -> AppendResult:
        items = {i: to_item(rows[i], ttl_s=self.ttl_s) for i in chunk}
        try:
            return AppendResult(failed=self._write(items))
        except ClientError as error:
            if error_code(error) != "ValidationException":
                raise
        # DynamoDB refuses a whole batch for one bad item: find it, so that it cannot block its shard.
        failed: list[int] = []
        refused: dict[int, str] = {}
        for i, item in items.items():
            try:
                failed.extend(self._write({i: item}))
            except ClientError as error:
                if error_code(error) != "ValidationException":
                    raise
                refused[i] = f"item: {error.response['Error'].get('Message', '')[:200]}"
        return AppendResult(failed=failed, refused=refused)

    def _write(self, items: dict[int, dict[str, Any]]) -> list[int]:
        """Write until nothing is left or attempts are; returns the positions left over."""
        positions = {(item["server_id"]["S"], item["observed_at"]["S"]): i for i, item in items.items()}
        requests: list[Any] = [{"PutRequest": {"Item": item}} for item in items.values()]
        for attempt in range(1, _ATTEMPTS + 1):
            requests = self._write_once(requests)
            if not requests:
                return []
            if attempt < _ATTEMPTS:
                wait_s = full_jitter_s(attempt, base_s=_BACKOFF_BASE_S, cap_s=_BACKOFF_CAP_S, random=self.random())
                self.sleep(wait_s)
        left = (request["PutRequest"]["Item"] for request in requests)
        return [positions[item["server_id"]["S"], item["observed_at"]["S"]] for item in left]

    def _write_once(self, requests: list[Any]) -> list[Any]:
        """One call; returns what it did not write."""
        try:
            response = self.client.batch_write_item(RequestItems={self.table: requests})
        except (ClientError, BotoCoreError) as error:
            if not is_transient(error):
                raise
            return requests
        return response.get("UnprocessedItems", {}).get(self.table, [])
