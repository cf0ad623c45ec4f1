"""The detector's log against moto: one winner a version, the same state from any start, nothing lost to expiry."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.unit.paging_fakes import alert
from treeline.app.detect.ports import Record
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.detect import detector_records
from treeline.aws.detect.detector_records import (
    ENTRY_TTL_S,
    HEAD_PAUSE_MS,
    OLDEST_HEAD_MS,
    SNAPSHOT_EVERY,
    DetectorRecords,
)
from treeline.core.errors import ModelMismatchError, StateConflictError
from treeline.core.state.fleet import FleetState

START_MS = 1_700_006_400_000


@dataclass
class Table:
    """The table, a clock, and as many workers as a test wants."""

    client: Any
    now_ms: int = START_MS
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def worker(self, *, writes: bool = True) -> DetectorRecords:
        return DetectorRecords(self.client, "state", clock_ms=lambda: self.now_ms, writes=writes)

    def load(self, worker: DetectorRecords) -> Record:
        return worker.load(0, "m1") or Record(0, "m1", FleetState(4, servers=["a", "b", "c"]))

    def advance(self, worker: DetectorRecords, commits: int = 1, outbox: int = 0) -> Record:
        """Load and commit so often, something different each time."""
        record = self.load(worker)
        for _ in range(commits):
            record = self.load(worker)
            previous = record.state.version
            record = changed(record, self.rng, self.now_ms)
            record.outbox = [alert(sequence=i + 1) for i in range(outbox)]
            worker.commit(record, previous)
        return record

    def sort_keys(self) -> list[str]:
        return [item["model_version"]["S"] for item in self.client.scan(TableName="state")["Items"]]


def changed(record: Record, rng: np.random.Generator, now_ms: int) -> Record:
    state = record.state
    row = int(rng.integers(len(state.servers)))
    state.version += 1
    state.last_at[row] = now_ms
    state.day_mean[row] = rng.normal(size=state.day_mean[row].shape)
    state.seen_at[row] = np.append(state.seen_at[row][1:], now_ms)
    block = ScoreBlock.empty(state.servers, "m1", np.array([row]), np.array([now_ms]))
    block.version = state.version
    return Record(record.group, record.model_version, state, block, list(record.outbox), now_ms, record.suppressed)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName="state",
            KeySchema=[
                {"AttributeName": "group", "KeyType": "HASH"},
                {"AttributeName": "model_version", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "group", "AttributeType": "N"},
                {"AttributeName": "model_version", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Table(client)


def test_before_the_first_commit_there_is_nothing(table: Table):
    assert table.worker().load(0, "m1") is None


@pytest.mark.parametrize("commits", [1, 2, SNAPSHOT_EVERY - 1, SNAPSHOT_EVERY + 3, 2 * SNAPSHOT_EVERY + 5])
def test_a_worker_that_knows_nothing_reads_what_the_one_that_wrote_it_has(table: Table, commits: int):
    written = table.advance(table.worker(), commits)

    for reader in (table.worker(), table.worker(writes=False)):
        read = table.load(reader)
        assert read.state.pack() == written.state.pack()
        assert read.block is not None
        assert read.block.pack() == written.block.pack()  # type: ignore[union-attr]
        assert (read.outbox, read.committed_ms) == ([], written.committed_ms)


def test_a_warm_worker_follows_what_others_commit(table: Table):
    first, second = table.worker(), table.worker()
    for _ in range(SNAPSHOT_EVERY):
        table.advance(first)
        written = table.advance(second, 2)

    assert table.load(first).state.pack() == written.state.pack() == table.load(table.worker()).state.pack()


def test_of_two_workers_that_read_the_same_version_one_wins_and_the_other_goes_on_from_it(table: Table):
    first, second = table.worker(), table.worker()
    table.advance(first, 3)
    ours, theirs = table.load(first), table.load(second)

    first.commit(changed(ours, table.rng, table.now_ms), 3)
    with pytest.raises(StateConflictError, match="moved on from version 4"):
        second.commit(changed(theirs, table.rng, table.now_ms), 3)

    assert table.load(second).state.pack() == table.load(first).state.pack()
    assert table.advance(second).state.version == 5


def test_two_workers_that_both_begin_a_group_do_not_both_win(table: Table):
    first, second = table.worker(), table.worker()
    ours, theirs = table.load(first), table.load(second)

    first.commit(changed(ours, table.rng, table.now_ms), 0)
    with pytest.raises(StateConflictError):
        second.commit(changed(theirs, table.rng, table.now_ms), 0)


def test_what_a_caller_does_to_its_record_without_committing_stays_with_it(table: Table):
    worker = table.worker()
    written = table.advance(worker, 3).state.pack()
    record = table.load(worker)
    record.state.day_mean[:] = 7
    record.state.add(["z"])

    assert table.load(worker).state.pack() == written


def test_a_worker_that_dies_before_the_head_is_written_loses_nothing(table: Table, monkeypatch: pytest.MonkeyPatch):
    worker = table.worker()
    table.advance(worker, SNAPSHOT_EVERY - 1)
    monkeypatch.setattr(worker, "_write_head", lambda record: (_ for _ in ()).throw(SystemExit("killed")))
    with pytest.raises(SystemExit):
        table.advance(worker, 5)

    written = table.load(table.worker()).state
    assert table.advance(table.worker()).state.version == written.version + 1


def test_a_table_short_of_capacity_takes_commits_and_gets_the_head_later(table: Table, monkeypatch: pytest.MonkeyPatch):
    worker = table.worker()
    table.advance(worker, SNAPSHOT_EVERY)
    tried, put_head = [], worker._put_head

    def throttled(record: Record, previous_version: int | None) -> None:
        tried.append(record.state.version)
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutItem")

    monkeypatch.setattr(worker, "_put_head", throttled)
    table.advance(worker, 5)
    assert tried == [SNAPSHOT_EVERY + 1], "once a minute at most"
    monkeypatch.setattr(worker, "_put_head", put_head)
    table.now_ms += HEAD_PAUSE_MS
    written = table.advance(worker)
    head = table.client.get_item(TableName="state", Key={"group": {"N": "0"}, "model_version": {"S": "m1"}})["Item"]
    assert int(head["version"]["N"]) == written.state.version == SNAPSHOT_EVERY + 6


def test_the_head_makes_a_long_log_short(table: Table):
    table.advance(table.worker(), 3 * SNAPSHOT_EVERY)
    reads = []
    table.client.meta.events.register(
        "after-call.dynamodb.Query", lambda parsed, **_: reads.append(len(parsed["Items"]))
    )

    table.load(table.worker())

    assert sum(reads) <= SNAPSHOT_EVERY + 1


def test_entries_expire_and_the_state_does_not(table: Table):
    worker = table.worker()
    written = table.advance(worker, SNAPSHOT_EVERY + 9)
    items = table.client.scan(TableName="state")["Items"]

    assert [item["model_version"]["S"] for item in items if "expires_at" not in item] == ["m1"]
    table.now_ms += OLDEST_HEAD_MS + 1
    table.load(table.worker(writes=False))  # who only reads writes nothing
    assert "whole" in next(item for item in items if item["model_version"]["S"] == "m1")
    table.load(table.worker())  # a heartbeat
    table.now_ms += 1000 * ENTRY_TTL_S  # all entries count as gone, though DynamoDB has not taken them yet
    assert table.load(table.worker()).state.pack() == written.state.pack()
    assert table.advance(table.worker()).state.version == SNAPSHOT_EVERY + 10


def test_an_expired_entry_that_is_still_there_gives_way(table: Table):
    table.advance(table.worker(), 4)
    table.now_ms += 1000 * ENTRY_TTL_S + 2000

    record = table.advance(table.worker())

    assert record.state.version <= 4, "only the head, of version 1, counted"
    assert table.load(table.worker()).state.pack() == record.state.pack()


def test_a_worker_that_slept_longer_than_it_may_remember_reads_anew(table: Table):
    sleeper = table.worker()
    table.advance(sleeper, 2)
    table.advance(table.worker(), SNAPSHOT_EVERY)
    table.now_ms += detector_records.KEEP_MS + 1

    assert table.load(sleeper).state.version == SNAPSHOT_EVERY + 2


def test_what_people_are_owed_is_carried_until_it_is_told(table: Table):
    worker = table.worker()
    record = table.advance(worker, 2, outbox=2)

    assert len(table.load(table.worker()).outbox) == 2
    record.outbox = record.outbox[1:]
    worker.clear_outbox(record)
    assert len(table.load(table.worker()).outbox) == 1
    record.outbox = []
    worker.clear_outbox(record)
    assert table.load(worker).outbox == table.load(table.worker()).outbox == []


@pytest.mark.parametrize("commits", [0, 1], ids=["nothing is decided meanwhile", "the group goes on"])
def test_what_people_are_owed_outlives_the_log(table: Table, commits: int):
    """A topic that refuses for days: a worker that knows nothing finds what is owed, and the state it belongs to."""
    worker = table.worker()
    table.advance(worker, 3)
    table.advance(worker, 2, outbox=1)
    for _ in range(2 * ENTRY_TTL_S // 3600):
        table.now_ms += 3_600_000
        table.load(worker)  # a heartbeat
        table.advance(worker, commits, outbox=1)
    written = table.load(worker).state.pack()

    other = table.worker()
    record = table.load(other)
    assert record.state.pack() == written
    assert len(record.outbox) == 1
    record.outbox = []
    other.clear_outbox(record)
    table.now_ms += OLDEST_HEAD_MS + 1
    table.load(other)  # a heartbeat
    table.now_ms += 40 * 86_400_000
    assert table.load(table.worker()).outbox == []


def test_a_group_that_commits_once_an_hour_does_not_lose_the_log_before_the_head_is_due(table: Table):
    worker = table.worker()
    for _ in range(SNAPSHOT_EVERY - 2):
        table.now_ms += 3_600_000
        written = table.advance(worker)
        assert table.load(table.worker(writes=False)).state.pack() == written.state.pack()


def test_what_is_told_leaves_a_head_that_another_worker_wrote(table: Table):
    first, second = table.worker(), table.worker()
    table.advance(first, 3)
    table.advance(second, 2, outbox=1)
    table.now_ms += OLDEST_HEAD_MS - 1000
    table.load(second)
    table.now_ms += 2000
    table.load(first)  # both know of no head past the first version; this one writes it, the other finds it there
    record = table.load(second)
    record.outbox = []
    second.clear_outbox(record)

    table.now_ms += 1000 * ENTRY_TTL_S + 2000
    assert table.load(table.worker()).outbox == []


def test_clearing_what_is_not_there_any_more_is_a_conflict(table: Table):
    with pytest.raises(StateConflictError):
        table.worker().clear_outbox(Record(0, "m1", FleetState(4, servers=["a"], version=3)))


def test_models_and_groups_do_not_meet(table: Table):
    worker = table.worker()
    table.advance(worker, 3)
    other = Record(0, "m10", FleetState(4, servers=["a"]))
    worker.commit(changed(other, table.rng, table.now_ms), 0)

    assert worker.load(1, "m1") is None
    assert table.load(table.worker()).state.version == 3
    assert sorted(key for key in table.sort_keys() if not key.startswith("m1#")) == ["m1", "m10", "m10#0000000001"]


def test_a_state_written_before_there_was_a_log_is_taken_over_by_one_worker(table: Table):
    state = FleetState(4, servers=["a", "b", "c"], version=41)
    old = Record(0, "m1", state, None, [], START_MS)
    item = {"group": {"N": "0"}, "model_version": {"S": "m1"}, "version": {"N": "41"}, "state": {"B": state.pack()}}
    table.client.put_item(TableName="state", Item={**item, **table.worker()._beside_state(old)})
    first, second = table.worker(), table.worker()
    ours, theirs = table.load(first), table.load(second)

    first.commit(changed(ours, table.rng, table.now_ms), 41)
    with pytest.raises(StateConflictError):
        second.commit(changed(theirs, table.rng, table.now_ms), 41)

    written = table.advance(second, 3)
    assert written.state.version == 45
    assert table.load(table.worker()).state.pack() == written.state.pack()


def test_a_damaged_entry_is_told_and_not_gone_on_with(table: Table):
    worker = table.worker()
    table.advance(worker, 3)
    key = {"group": {"N": "0"}, "model_version": {"S": "m1#0000000002"}}
    second = table.client.get_item(TableName="state", Key=key)["Item"]
    third = {**second, "model_version": {"S": "m1#0000000003"}}
    table.client.put_item(TableName="state", Item=third)

    with pytest.raises(ModelMismatchError, match="does not add up"):
        table.load(table.worker())


def test_a_worker_that_remembers_another_history_reads_the_stored_one(table: Table):
    """An operator deleted the group's items and it began anew: the version remembered is there, as another state."""
    remembers, begins = table.worker(), table.worker()
    table.advance(remembers, 3)
    for key in table.sort_keys():
        table.client.delete_item(TableName="state", Key={"group": {"N": "0"}, "model_version": {"S": key}})
    written = table.advance(begins, 5)

    assert table.load(remembers).state.pack() == written.state.pack()
    assert table.advance(remembers).state.version == 6
    assert table.load(table.worker()).state.version == 6


def test_an_entry_is_a_fraction_of_the_state(table: Table):
    table.advance(table.worker(), 5)
    items = {item["model_version"]["S"]: item for item in table.client.scan(TableName="state")["Items"]}

    assert len(items["m1#0000000005"]["delta"]["B"]) < 800
