"""Reads the scores table: what was scored of a group in a stretch of event time."""

from collections.abc import Iterator

import numpy as np

from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.client_types import DynamoDBClient
from treeline.core.times import iso

# A block is found by its first observation; a commit that caught up on a backlog may span this much.
LOOKBACK_MS = 6 * 3_600_000


class ScoreBlocks:
    """Score blocks by group and time."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def read(self, group: int, start_ms: int, end_ms: int, *, model_version: str | None = None) -> Iterator[ScoreBlock]:
        """Blocks with an observation in [start, end), of one model where it is named."""
        names = {"#group": "group"}
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="#group = :group AND tick BETWEEN :start AND :end",
            FilterExpression="last_observed_at >= :from",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={
                ":group": {"N": str(group)},
                ":start": {"S": iso(max(start_ms - LOOKBACK_MS, 0))},
                ":end": {"S": iso(end_ms)},
                ":from": {"S": iso(max(start_ms, 0))},
            },
        )
        for page in pages:
            for item in page["Items"]:
                if model_version is not None and item["model_version"]["S"] != model_version:
                    continue
                block = ScoreBlock.unpack(bytes(item["block"]["B"]))
                if bool(np.any((block.observed_at >= start_ms) & (block.observed_at < end_ms))):
                    yield block
