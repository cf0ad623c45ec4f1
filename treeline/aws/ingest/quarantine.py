"""The quarantine bucket: rejected records and values as JSON lines, one object a batch."""

import base64
import json
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.ingest.ports import QuarantinedRecord, StreamRecord
from treeline.aws.client_types import S3Client
from treeline.aws.retries import is_transient
from treeline.core.errors import StoreUnavailableError
from treeline.core.times import from_ms, iso


def object_key(first: StreamRecord) -> str:
    """`quarantine/yyyy/mm/dd/hh/<shard>-<sequence number>.jsonl`, the hour of the batch's first record's receipt."""
    hour = from_ms(first.received_at_ms).strftime("%Y/%m/%d/%H")
    return f"quarantine/{hour}/{first.shard_id}-{first.sequence_number}.jsonl"


def to_line(entry: QuarantinedRecord) -> str:
    """One record as JSON: why, and all that is needed to put it back on the stream."""
    return json.dumps(
        {
            "reason": entry.rejection.reason.value,
            # A detail may show half of a surrogate pair, which json escapes and UTF-8 could not hold.
            "detail": entry.rejection.detail,
            # Only beside a value that was set aside alone: what is kept of its record needs no second sending.
            **({} if entry.rejection.metric is None else {"metric": entry.rejection.metric}),
            "raw": base64.b64encode(entry.rejection.raw).decode("ascii"),
            "shard_id": entry.record.shard_id,
            "sequence_number": entry.record.sequence_number,
            "received_at": iso(entry.record.received_at_ms),
        }
    )


class S3Quarantine:
    """Keeps rejected records; the key is of the batch alone, so a retry overwrites itself."""

    def __init__(self, client: S3Client, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, first: StreamRecord, rejected: Sequence[QuarantinedRecord]) -> None:
        """Keep them; see `Quarantine`."""
        body = "".join(to_line(entry) + "\n" for entry in rejected).encode("ascii")
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=object_key(first), Body=body, ContentType="application/jsonl"
            )
        except (ClientError, BotoCoreError) as error:
            if not is_transient(error):
                raise
            raise StoreUnavailableError(f"the quarantine bucket does not answer: {error}") from error
