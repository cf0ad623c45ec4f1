"""The scores table as detect uses it: one item a commit, expiring."""

from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.core.times import iso

_LONGEST_BLOCK_MS = 86_400_000  # a longer one comes from a group of one or two servers only


class ScoreTable(ScoreBlocks):
    """The scores table, to write to as well."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, *, ttl_s: int) -> None:
        super().__init__(dynamodb, table)
        self._ttl_s = ttl_s

    def put(self, group: int, block: ScoreBlock, now_ms: int) -> None:
        """Write the block; its key is unique to its commit, so writing it again changes nothing."""
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                "group": {"N": str(group)},
                "tick": {"S": block.tick},
                "model_version": {"S": block.model_version},
                "rows": {"N": str(len(block.observed_at))},
                "last_observed_at": {"S": iso(int(block.observed_at.max()))},
                "block": {"B": block.pack()},
                "expires_at": {"N": str(now_ms // 1000 + self._ttl_s)},
            },
        )

    def entries(self, group: int, first_ms: int, last_ms: int) -> set[tuple[str, int]]:
        """(server, observed_at) of what is scored from `first_ms` to `last_ms`."""
        blocks = self.read(group, first_ms, last_ms + 1, longest_ms=_LONGEST_BLOCK_MS)
        return {key for block in blocks for key in block.entries() if first_ms <= key[1] <= last_ms}
