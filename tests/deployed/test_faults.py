"""What goes wrong in production, done to the deployed templates: nothing is lost, nobody is told twice."""

import json
import random
import time

import pytest

from demo import results
from demo.producer import record
from tests.deployed.pipeline import PATIENCE_S, SERVERS, Pipeline, samples
from tests.unit.detection_fakes import METRICS
from treeline.core.alert import AlertEvent
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
ALL = 180 * SERVERS


def test_without_a_fault_everything_is_scored_told_and_paged_once(pipeline: Pipeline):
    """The vertical slice: record in, page out, with evidence and all clocks."""
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()
    # Alerts of two servers have no order.
    first = next(a for a in pipeline.told if (a.server_id, a.event) == ("web-03", AlertEvent.OPENED))
    assert {m.name for m in first.metrics[:2]} == {"cpu_percent", "memory_percent"}
    clocks = first.clocks
    assert clocks.received_at <= clocks.scored_at <= clocks.published_at
    page = next(page for page in pipeline.pages() if page["dedup_key"].endswith("/web-03"))
    assert "cpu_percent" in json.dumps(page["payload"])


def test_a_speed_of_one_observation_at_a_time_changes_nothing(pipeline: Pipeline):
    """Small bites: other batches, other ticks, other commits; the same incidents."""
    every = samples(pipeline.present)
    for start in range(0, len(every), 97):
        pipeline.send(every[start : start + 97])
        pipeline.wait_decided(max(0, start - 200))
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()


def test_an_endpoint_down_for_ten_minutes_makes_every_tick_wait_and_be_redriven(pipeline: Pipeline):
    """Ten minutes of event time fall into the outage, among them the onset of an incident."""
    pipeline.send(samples(pipeline.present, 0, 55))
    pipeline.wait_decided(55 * SERVERS)
    endpoint = pipeline.deployment.output(outputs.ENDPOINT_NAME)
    pipeline.deployment.cloud.sagemaker.fault(endpoint, "down")
    pipeline.send(samples(pipeline.present, 55, 65))
    dead = wait_for(lambda: pipeline.queue_depth(outputs.TICKS_DEAD_QUEUE_URL))
    assert dead > 0, "ticks end in the dead-letter queue"
    assert pipeline.books.decided() == 55 * SERVERS, "nothing was decided without scores"
    assert pipeline.told == []
    pipeline.deployment.cloud.sagemaker.clear(endpoint)
    pipeline.invoke(outputs.REPROCESS_FUNCTION)
    pipeline.wait_decided(65 * SERVERS)
    pipeline.send(samples(pipeline.present, 65))
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()


def test_an_endpoint_being_updated_goes_on_serving(pipeline: Pipeline):
    """A new configuration goes in while the fleet streams."""
    sagemaker = pipeline.deployment.client("sagemaker")
    endpoint = pipeline.deployment.output(outputs.ENDPOINT_NAME)
    config = sagemaker.describe_endpoint_config(EndpointConfigName="test-1")
    pipeline.deployment.cloud.sagemaker.delays(updating_s=5.0)
    sagemaker.create_endpoint_config(EndpointConfigName="test-2", ProductionVariants=config["ProductionVariants"])
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName="test-2")
    assert sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "Updating"
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()


def test_one_percent_poison_is_set_aside_with_its_reasons(pipeline: Pipeline):
    """Bad records never hold up the good ones beside them."""
    rng = random.Random(4)
    poison = [b"{not json", b"\xff\xfe", b'{"server_id": "web-01"}', b'{"server_id": "", "observed_at": "x"}', b"[]"]
    entries, bad = [], 0
    for at, server, values in samples(pipeline.present):
        entries.append((server, record(at, server, values, METRICS)))
        if rng.random() < 0.01:
            entries.append((server, poison[bad % len(poison)]))
            bad += 1
    pipeline.send_raw(entries)
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()
    quarantined, values = pipeline.books.quarantined()
    assert sum(quarantined.values()) == bad > 10
    assert not values
    assert pipeline.sent == ALL + bad
    assert {"not_json", "not_utf8", "empty_server_id"} <= set(quarantined)


def test_every_record_sent_twice_counts_once(pipeline: Pipeline):
    """At-least-once delivery, at its worst."""
    pipeline.send([sample for sample in samples(pipeline.present) for _ in range(2)])
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()
    assert pipeline.sent == 2 * ALL


@pytest.mark.slow("every two minutes of event time are stored before the next are sent")
def test_late_and_unordered_records_are_all_scored_and_every_change_is_paged_once(pipeline: Pipeline):
    """Shuffled within seven minutes of event time: each is scored, once, some as late.

    What differs from the undisturbed run: a late observation is scored against the state as it is and decides
    nothing, so its server's persistence counts without it and an incident may open a minute or so later. The books
    balance all the same, both servers are found, and PagerDuty has exactly what the incidents table has.
    """
    rng = random.Random(5)
    every = samples(pipeline.present)
    every.sort(key=lambda sample: sample[0] + rng.uniform(0, 7 * 60_000))
    # Two minutes at once, and stored before the next: one shard far behind the other would make some too late.
    for start in range(0, len(every), 24):
        pipeline.send(every[start : start + 24])
        wait_for(lambda: pipeline.books.stored() >= pipeline.sent)
    # What a sweep left to the tick of its batch, and that tick did not find, is the next heartbeat's.
    pipeline.wait_decided(ALL, heartbeat=True)
    wait_for(lambda: len(pipeline.ledger().scored) >= ALL)
    ledger = pipeline.ledger()
    assert ledger.lost == set()
    assert ledger.scored_twice == set()
    assert len(ledger.scored) == ALL
    assert ledger.late, "some came after a later one of their server"
    assert ledger.too_late == set()
    told = pipeline.table_sequences()
    pipeline.wait_told(sum(map(len, told.values())))
    assert pipeline.page_sequences() == told
    assert {server for server in told if told[server]} == set(pipeline.offline_sequences())


def test_what_comes_hours_late_is_stored_and_counted_and_changes_nothing(pipeline: Pipeline):
    """An agent that was cut off sends the beginning of its day at the end of it."""
    every = samples(pipeline.present)
    held_back = [s for s in every if s[1] == "web-05" and 20 <= (s[0] - every[0][0]) // 60_000 < 40]
    pipeline.send(s for s in every if not any(s is late for late in held_back))
    pipeline.wait_decided(ALL - len(held_back))
    pipeline.send(held_back)
    pipeline.wait_decided(ALL)
    ledger = pipeline.ledger()
    assert ledger.too_late == {(server, at) for at, server, _ in held_back}
    assert (ledger.lost, ledger.scored_twice) == (set(), set())
    assert len(ledger.stored) == ALL == len(ledger.scored) + len(ledger.too_late)
    told = pipeline.table_sequences()
    pipeline.wait_told(sum(map(len, told.values())))
    assert pipeline.page_sequences() == told
    assert set(told) == set(pipeline.offline_sequences())


def test_detect_killed_in_the_middle_of_its_work_loses_nothing(pipeline: Pipeline):
    """SIGKILL of every worker, nine times, while a tick is being worked on."""
    every = samples(pipeline.present)
    killed = 0
    for start in range(0, len(every), 240):
        pipeline.send(every[start : start + 240])
        killed += pipeline.kill_busy(outputs.DETECT_FUNCTION)
    assert killed > 0
    pipeline.wait_decided(ALL, heartbeat=True)
    pipeline.assert_as_undisturbed(told_again=True)


@pytest.mark.parametrize("action", ["BatchWriteItem", "PutItem", "Query"])
def test_dynamodb_throttling_delays_but_loses_nothing(pipeline: Pipeline, action: str):
    """Writes of observations, commits of detect, and its reads."""
    pipeline.deployment.cloud.faults.add("dynamodb", action, "ProvisionedThroughputExceededException", count=10)
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL, heartbeat=True)
    assert pipeline.deployment.cloud.faults.clear() > 0, "the fault was met"
    pipeline.assert_as_undisturbed()


def test_sns_refusing_leaves_alerts_in_the_outbox_until_it_takes_them(pipeline: Pipeline):
    """Detection goes on meanwhile; the heartbeat sends what waits."""
    pipeline.deployment.cloud.faults.add("sns", "Publish", "InternalError", status=500)
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL)
    assert pipeline.feed.read() == []
    assert pipeline.deployment.cloud.faults.clear() > 0, "the fault was met"
    pipeline.invoke(outputs.DISPATCH_FUNCTION)
    pipeline.assert_as_undisturbed(told_again=True)


@pytest.mark.parametrize("status", [429, 500])
def test_pagerduty_saying_later_gets_every_page_in_the_end(pipeline: Pipeline, status: int):
    """429 and 5xx are backed off from and tried again."""
    pipeline.deployment.cloud.pagerduty.fail(status, 3)
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()
    refused = [e["status"] for e in pipeline.deployment.cloud.pagerduty.received() if e["status"] != 202]
    assert refused == [status] * 3


def test_pagerduty_refusing_a_page_for_good_is_not_asked_again(pipeline: Pipeline):
    """A 400 will be a 400 tomorrow: counted and logged, never repeated; all else is as without the fault."""
    pipeline.deployment.cloud.pagerduty.fail(400, 1)
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL)
    expected = pipeline.expected_alerts()
    pipeline.wait_told(expected, pages=expected - 1)
    statuses = [e["status"] for e in pipeline.deployment.cloud.pagerduty.received()]
    assert sorted(statuses) == [202] * (expected - 1) + [400]
    assert pipeline.page_sequences(refused=True) == pipeline.offline_sequences(), "asked once, in the same order"
    assert pipeline.ledger().lost == set()
    assert results.matches_offline(pipeline.books.incidents(), pipeline.offline)
    assert pipeline.queue_depth(outputs.PAGES_DEAD_QUEUE_URL) == 0
    log = "\n".join(pipeline.deployment.cloud.logs(pipeline.function(outputs.NOTIFY_PAGERDUTY_FUNCTION)))
    assert "page refused for good" in log
    assert "0" * 32 not in log, "the routing key is in no log"


def test_notify_killed_while_it_pages_repeats_at_most_a_page_under_its_own_dedup_key(pipeline: Pipeline):
    """A worker that dies between PagerDuty's answer and the ledger may repeat that page, and nothing else."""
    # What a dead worker held shows again after the queue's visibility timeout: minutes, which a test need not wait.
    pages = pipeline.deployment.output(outputs.PAGES_QUEUE_URL)
    pipeline.deployment.client("sqs").set_queue_attributes(QueueUrl=pages, Attributes={"VisibilityTimeout": "5"})
    pipeline.send(samples(pipeline.present))
    killed = pipeline.kill_busy(outputs.NOTIFY_PAGERDUTY_FUNCTION, patience_s=60.0)
    assert killed > 0
    pipeline.wait_decided(ALL)
    pipeline.wait_told(pipeline.expected_alerts())
    for server, sequence in pipeline.page_sequences().items():
        once = [step for i, step in enumerate(sequence) if i == 0 or step != sequence[i - 1]]
        assert once == pipeline.offline_sequences()[server]
        assert len(sequence) - len(once) <= killed


def wait_for(condition, patience_s: float = PATIENCE_S):
    """The condition's first true value."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.3)
    return value
