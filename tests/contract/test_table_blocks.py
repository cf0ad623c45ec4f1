"""Blocks of the seasonal tables against moto: what is named is found, in memory or in the table, until it expires."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from moto import mock_aws

from tests.golden.make import tables
from treeline.aws.detect import table_blocks
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.table_blocks import BLOCK_TTL_S, TableBlocks

START_MS = 1_700_006_400_000
DAY_MS = 86_400_000
BLOCK = np.random.default_rng(1).bytes(30_000)


@dataclass
class BlockTable:
    """The table, a clock, and as many workers as a test wants."""

    client: Any
    now_ms: int = START_MS

    def worker(self) -> TableBlocks:
        return TableBlocks(self.client, "state", clock_ms=lambda: self.now_ms)

    def items(self) -> list[dict[str, Any]]:
        return list(self.client.scan(TableName="state")["Items"])

    def expires_s(self) -> list[int]:
        return [int(item["expires_at"]["N"]) for item in self.items()]


@pytest.fixture
def state_table() -> Iterator[BlockTable]:
    with mock_aws():
        yield BlockTable(tables())


def test_what_one_worker_wrote_another_reads(state_table: BlockTable):
    state_table.worker().write_block(7, "m1", 3, "abc", BLOCK)
    assert state_table.worker().read_block(7, "m1", 3, "abc") == BLOCK
    for other in ((8, "m1", 3, "abc"), (7, "m2", 3, "abc"), (7, "m1", 4, "abc"), (7, "m1", 3, "abd")):
        assert state_table.worker().read_block(*other) is None


def test_a_worker_asks_once_for_what_never_changes(state_table: BlockTable):
    state_table.worker().write_block(7, "m1", 3, "abc", BLOCK)
    worker = state_table.worker()
    worker.read_block(7, "m1", 3, "abc")
    state_table.client.delete_item(TableName="state", Key={"group": {"N": "7"}, "model_version": {"S": "m1/03/abc"}})
    assert worker.read_block(7, "m1", 3, "abc") == BLOCK
    assert state_table.worker().read_block(7, "m1", 3, "abc") is None


def test_memory_has_a_limit_and_holds_what_was_used_last(state_table: BlockTable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_blocks, "KEPT_BYTES", 3 * len(BLOCK))
    worker = state_table.worker()
    for number in range(3):
        worker.write_block(7, "m1", number, "abc", BLOCK)
    worker.read_block(7, "m1", 0, "abc")
    worker.write_block(7, "m1", 3, "abc", BLOCK)
    for item in state_table.items():
        state_table.client.delete_item(TableName="state", Key={name: item[name] for name in ("group", "model_version")})
    assert [worker.read_block(7, "m1", number, "abc") is not None for number in range(4)] == [True, False, True, True]


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_block_that_is_still_read_does_not_expire(state_table: BlockTable, is_warm: bool):
    """One of weekends is read once a week, and replaced only where servers reported."""
    worker = state_table.worker()
    worker.write_block(7, "m1", 3, "abc", BLOCK)
    state_table.now_ms += 5 * DAY_MS
    worker = worker if is_warm else state_table.worker()
    worker.read_block(7, "m1", 3, "abc")
    assert state_table.expires_s() == [START_MS // 1000 + BLOCK_TTL_S], "it has more than half of its time left"
    state_table.now_ms += 2 * DAY_MS
    worker.read_block(7, "m1", 3, "abc")
    assert state_table.expires_s() == [state_table.now_ms // 1000 + BLOCK_TTL_S]
    assert state_table.worker().read_block(7, "m1", 3, "abc") == BLOCK


def test_a_damaged_item_is_no_block(state_table: BlockTable):
    state_table.worker().write_block(7, "m1", 3, "abc", BLOCK)
    (item,) = state_table.items()
    state_table.client.put_item(TableName="state", Item={**item, "table_block": {"B": b"not zlib"}})
    assert state_table.worker().read_block(7, "m1", 3, "abc") == b""


def test_what_is_stored_of_an_hour_is_found_the_newest_first(state_table: BlockTable):
    worker = state_table.worker()
    for name, block in (("def", b"first"), ("abc", b"second"), ("ghi", BLOCK)):
        worker.write_block(7, "m1", 3, name, block)
        state_table.now_ms += 900_000
    for other in ((8, "m1", 3), (7, "m1x", 3), (7, "m1", 30), (7, "m1", 0)):
        worker.write_block(*other, "xyz", BLOCK)
    found = state_table.worker().stored_blocks(7, "m1", 3)
    assert found == [("ghi", BLOCK), ("abc", b"second"), ("def", b"first")]


def test_blocks_and_the_log_of_a_group_do_not_meet(state_table: BlockTable):
    """They share the table and the partition."""
    for model in ("m1", "m1#x", "m"):
        state_table.worker().write_block(0, model, 3, "abc", BLOCK)
    assert DetectorRecords(state_table.client, "state", clock_ms=lambda: state_table.now_ms).load(0, "m1") is None
