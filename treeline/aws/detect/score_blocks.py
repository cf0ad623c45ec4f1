"""Reads the scores table: what was scored of a group in a stretch of event time."""

from collections.abc import Iterator

import numpy as np

from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import items_of
from treeline.core.times import iso

# A block is found by its first observation; a commit that caught up on a backlog may span this much.
LONGEST_BLOCK_MS = 6 * 3_600_000


class ScoreBlocks:
    """Score blocks by group and time."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def read(
        self,
        group: int,
        start_ms: int,
        end_ms: int,
        *,
        model_version: str | None = None,
        longest_ms: int = LONGEST_BLOCK_MS,
    ) -> Iterator[ScoreBlock]:
        """Blocks with an observation in [start, end), of one model where it is named; none longer than `longest_ms`."""
        for item in items_of(
            self._dynamodb,
            TableName=self._table,
            KeyConditionExpression="#group = :group AND tick BETWEEN :start AND :end",
            FilterExpression="last_observed_at >= :from",
            ExpressionAttributeNames={"#group": "group"},
            ExpressionAttributeValues={
                ":group": {"N": str(group)},
                ":start": {"S": iso(max(start_ms - longest_ms, 0))},
                ":end": {"S": iso(end_ms)},
                ":from": {"S": iso(max(start_ms, 0))},
            },
        ):
            if model_version is not None and item["model_version"]["S"] != model_version:
                continue
            block = ScoreBlock.unpack(bytes(item["block"]["B"]))
            if bool(np.any((block.observed_at >= start_ms) & (block.observed_at < end_ms))):
                yield block
