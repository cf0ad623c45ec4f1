import json
import math
from collections import Counter

from tests.unit.ingest_fakes import Pipeline, batch, observation
from treeline.app.detect.ticks import TickCause
from treeline.core.rejection import RejectionReason
from treeline.core.times import parse_iso


def test_a_good_batch_is_stored_with_its_groups_and_asks_for_one_tick_a_group():
    pipeline = Pipeline(group_size=2)

    outcome = pipeline.service.ingest(
        batch(observation("a", 30), observation("b", 20), observation("c", 10), observation("a", 25))
    )

    assert outcome.resume_from is None
    assert (outcome.records, outcome.received, outcome.stored) == (4, 4, 4)
    assert outcome.new_servers == 3
    assert [(t.tick.group, t.tick.since_ms, t.tick.cause, t.delay_s) for t in pipeline.ticks.sent] == [
        (0, parse_iso("2026-11-22T15:58:20Z"), TickCause.OBSERVATIONS, 0),
        (1, parse_iso("2026-11-22T15:58:10Z"), TickCause.OBSERVATIONS, 0),
    ]


def test_a_bad_record_is_set_aside_and_does_not_hold_up_the_others():
    pipeline = Pipeline()

    outcome = pipeline.service.ingest(batch(observation("a"), b"poison", observation("b")))

    assert outcome.resume_from is None
    assert sorted(server_id for server_id, _ in pipeline.store.rows) == ["a", "b"]
    [entry] = pipeline.quarantine.objects["shard-1-0"]
    assert (entry.record.sequence_number, entry.rejection.raw) == ("1", b"poison")
    assert outcome.quarantined == Counter({RejectionReason.NOT_JSON: 1})


def test_a_bad_value_is_set_aside_and_counted_and_the_rest_of_its_record_is_stored():
    pipeline = Pipeline()
    data = json.dumps(
        {
            "server_id": "a",
            "observed_at": "2026-11-22T15:58:30Z",
            "metrics": {"cpu_percent": 250, "memory_percent": 93, "disk_iops": None},
        }
    ).encode()

    outcome = pipeline.service.ingest(batch(observation("b"), data))

    [row] = (row for (server, _), row in pipeline.store.rows.items() if server == "a")
    assert row.receipt.observation.metrics == {"memory_percent": 93.0}
    [entry] = pipeline.quarantine.objects["shard-1-0"]
    assert (entry.record.sequence_number, entry.rejection.metric, entry.rejection.raw) == ("1", "cpu_percent", data)
    assert outcome.values_set_aside == Counter({RejectionReason.METRIC_OUT_OF_RANGE: 1})
    assert (outcome.received, outcome.stored, outcome.quarantined.total()) == (2, 2, 0)


def test_a_bad_value_of_a_record_that_comes_again_is_counted_and_set_aside_once():
    pipeline = Pipeline()
    data = b"\n".join(
        [observation("a", cpu=math.nan), observation("a", 20).replace(b"41.5", b'41.5, "disk_iops": "x"')]
    )
    pipeline.store.failing = {"a"}

    first = pipeline.service.ingest(batch(observation("b"), data))
    pipeline.store.failing = set()
    second = pipeline.service.ingest(batch(data, first=1))

    assert (first.resume_from, first.values_set_aside.total()) == ("1", 0)
    assert second.values_set_aside == Counter({RejectionReason.METRIC_NOT_NUMERIC: 1})
    assert second.quarantined == Counter({RejectionReason.METRIC_NOT_FINITE: 1})
    assert sorted(pipeline.quarantine.reasons) == ["metric_not_finite", "metric_not_numeric"]


def test_an_observation_sent_twice_in_a_batch_is_stored_once():
    pipeline = Pipeline()

    outcome = pipeline.service.ingest(batch(observation("a"), observation("a") + b"\n" + observation("a")))

    assert pipeline.store.appended == 1
    assert (outcome.received, outcome.stored, outcome.duplicates) == (3, 1, 2)


def test_a_second_content_for_the_same_server_and_time_is_set_aside():
    pipeline = Pipeline()

    outcome = pipeline.service.ingest(batch(observation("a", cpu=1.0), observation("a", cpu=2.0)))

    [row] = pipeline.store.rows.values()
    assert row.receipt.observation.metrics == {"cpu_percent": 1.0}
    [entry] = pipeline.quarantine.objects["shard-1-0"]
    assert entry.rejection.reason is RejectionReason.CONFLICTING_DUPLICATE
    assert entry.rejection.raw == observation("a", cpu=2.0)
    assert entry.rejection.detail.startswith("cpu_percent: expected 1.0")
    assert outcome.received == outcome.stored + outcome.quarantined.total() == 2


def test_a_failed_write_is_resumed_from_the_first_failed_record():
    pipeline = Pipeline()
    pipeline.store.failing = {"b"}

    outcome = pipeline.service.ingest(batch(*(observation(s) for s in "abcab"[:4])))

    assert outcome.resume_from == "1"


def test_what_comes_again_is_counted_and_set_aside_once():
    """Counters reconcile although the part behind the failure is processed twice."""
    pipeline = Pipeline()
    data = [observation("a"), b"bad 1", observation("b"), b"bad 2", observation("c"), observation("c")]
    pipeline.store.failing = {"b"}

    first = pipeline.service.ingest(batch(*data))
    pipeline.store.failing = set()
    second = pipeline.service.ingest(batch(*data[int(first.resume_from) :], first=int(first.resume_from)))

    assert (first.resume_from, second.resume_from) == ("2", None)
    assert first.received + second.received == len(data)
    assert first.stored + second.stored == len(pipeline.store.rows) == 3
    assert first.duplicates + second.duplicates == 1
    assert pipeline.quarantine.reasons == ["not_json", "not_json"]


def test_a_bad_line_beside_a_failed_one_is_set_aside_when_its_record_is_done():
    """The record comes again as a whole, bad line and all."""
    pipeline = Pipeline()
    data = observation("a") + b"\nbad"
    pipeline.store.failing = {"a"}

    first = pipeline.service.ingest(batch(observation("b"), data))
    pipeline.store.failing = set()
    second = pipeline.service.ingest(batch(data, first=1))

    assert (first.resume_from, second.resume_from) == ("1", None)
    assert (first.received, second.received) == (1, 2)
    assert list(pipeline.quarantine.objects) == ["shard-1-1"]


def test_a_whole_batch_that_comes_again_changes_nothing():
    pipeline = Pipeline()
    records = batch(observation("a"), b"bad", observation("b"))
    pipeline.service.ingest(records)
    rows, objects = dict(pipeline.store.rows), dict(pipeline.quarantine.objects)

    again = pipeline.service.ingest(records)

    assert (pipeline.store.rows, pipeline.quarantine.objects) == (rows, objects)
    assert again.new_servers == 0


def test_a_server_that_cannot_be_numbered_now_is_resumed_from():
    pipeline = Pipeline()
    pipeline.registry.unavailable = {"b"}

    outcome = pipeline.service.ingest(batch(observation("a"), observation("b"), observation("c")))

    assert outcome.resume_from == "1"
    assert ("b", parse_iso("2026-11-22T15:58:30Z")) not in pipeline.store.rows


def test_an_item_the_store_will_never_take_is_set_aside_with_what_the_store_says():
    pipeline = Pipeline()
    pipeline.store.refusing = {"b"}

    outcome = pipeline.service.ingest(batch(observation("a"), observation("b")))

    assert outcome.resume_from is None
    [entry] = pipeline.quarantine.objects["shard-1-0"]
    assert entry.rejection.reason is RejectionReason.REFUSED_BY_STORE
    assert (entry.rejection.detail, entry.rejection.raw) == ("item: too strange", observation("b"))


def test_a_quarantine_that_is_down_loses_nothing():
    pipeline = Pipeline()
    pipeline.quarantine.is_down = True

    outcome = pipeline.service.ingest(batch(observation("a"), b"bad", observation("b")))

    assert outcome.resume_from == "1"
    assert (outcome.received, outcome.stored, outcome.quarantined.total()) == (1, 1, 0)


def test_a_tick_that_cannot_be_sent_fails_no_record():
    """The heartbeat makes up for it."""
    pipeline = Pipeline(group_size=1)
    pipeline.ticks.failing_groups = {0}

    outcome = pipeline.service.ingest(batch(observation("a"), observation("b")))

    assert outcome.resume_from is None
    assert (outcome.ticks_sent, outcome.ticks_failed) == (1, 1)


def test_only_groups_with_something_stored_are_ticked():
    pipeline = Pipeline(group_size=1)
    pipeline.store.failing = {"b"}

    pipeline.service.ingest(batch(observation("a"), observation("b")))

    assert [t.tick.group for t in pipeline.ticks.sent] == [0]


def test_an_empty_batch_does_nothing():
    pipeline = Pipeline()

    assert pipeline.service.ingest([]).received == 0
    assert pipeline.ticks.sent == []
