"""Reads the scores table: what was scored of a group in a stretch of event time."""

from collections.abc import Iterator

import numpy as np

from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.dynamodb import items_of
from treeline.core.times import iso

# A block is found by its first observation; a commit that caught up on a backlog may span this much.
LONGEST_BLOCK_MS = 6 * 3_600_000
_NEIGHBOURS = 8  # a canary's blocks and those of late observations stand between those of the model in use


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

    def reaching(
        self, group: int, at_ms: int, *, begun_before_ms: int, model_version: str | None
    ) -> Iterator[ScoreBlock]:
        """Blocks that began before `begun_before_ms` and still reach `at_ms`: what a commit on a long backlog leaves.

        A group's blocks follow each other in time, so they are among the last few that began before it.
        """
        answer = self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="#group = :group AND tick < :before",
            ExpressionAttributeNames={"#group": "group"},
            ExpressionAttributeValues={":group": {"N": str(group)}, ":before": {"S": iso(max(begun_before_ms, 0))}},
            ScanIndexForward=False,
            Limit=_NEIGHBOURS,
        )
        for item in reversed(answer["Items"]):
            if model_version in (None, item["model_version"]["S"]) and item["last_observed_at"]["S"] >= iso(at_ms):
                yield ScoreBlock.unpack(bytes(item["block"]["B"]))
