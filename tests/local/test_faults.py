"""What goes wrong in production, done to the deployed templates: nothing is lost, nobody is told twice."""

import json
import random
import time

import pytest

from local.demo.producer import record
from stacks import outputs
from tests.local.pipeline import SERVERS, Pipeline, samples
from tests.unit.detection_fakes import METRICS

pytestmark = pytest.mark.cloud
ALL = 180 * SERVERS


def test_without_a_fault_everything_is_scored_told_and_paged_once(pipeline: Pipeline):
    """The vertical slice: record in, page out, with evidence and all clocks."""
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()
    first = pipeline.told[0]
    assert first.server_id == "web-03"
    assert {m.name for m in first.metrics[:2]} == {"cpu_percent", "memory_percent"}
    clocks = first.clocks
    assert clocks.received_at <= clocks.scored_at <= clocks.published_at
    page = pipeline.accepted_pages()[0]
    assert page["dedup_key"].endswith("/web-03")
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
    quarantined = pipeline.books.quarantined()
    assert sum(quarantined.values()) == bad > 10
    assert pipeline.sent == ALL + bad
    assert {"not_json", "not_utf8", "empty_server_id"} <= set(quarantined)


def test_every_record_sent_twice_counts_once(pipeline: Pipeline):
    """At-least-once delivery, at its worst."""
    pipeline.send([sample for sample in samples(pipeline.present) for _ in range(2)])
    pipeline.wait_decided(ALL)
    pipeline.assert_as_undisturbed()
    assert pipeline.sent == 2 * ALL


def test_late_and_unordered_records_are_all_scored(pipeline: Pipeline):
    """Shuffled within ten minutes of event time: each is scored, once, some as late."""
    rng = random.Random(5)
    every = samples(pipeline.present)
    every.sort(key=lambda sample: sample[0] + rng.uniform(0, 8 * 60_000))
    for start in range(0, len(every), 60):
        pipeline.send(every[start : start + 60])
        pipeline.wait_decided(max(0, start - 400))
    wait_for(lambda: len(pipeline.ledger().scored) >= ALL)
    ledger = pipeline.ledger()
    assert ledger.lost == set()
    assert ledger.scored_twice == set()
    assert len(ledger.scored) == ALL


def test_detect_killed_in_the_middle_of_its_work_loses_nothing(pipeline: Pipeline):
    """SIGKILL of every worker, nine times, while ticks are being worked on or just were."""
    every = samples(pipeline.present)
    killed = 0
    for start in range(0, len(every), 240):
        pipeline.send(every[start : start + 240])
        time.sleep(0.15)  # about when a tick for them is being worked on
        killed += pipeline.deployment.cloud.functions.kill(pipeline.function(outputs.DETECT_FUNCTION), when_busy=False)
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
    """A 400 will be a 400 tomorrow: counted and logged, never repeated."""
    pipeline.deployment.cloud.pagerduty.fail(400, 1)
    pipeline.send(samples(pipeline.present))
    pipeline.wait_decided(ALL)
    expected = pipeline.expected_alerts()
    wait_for(lambda: len(pipeline.deployment.cloud.pagerduty.received()) >= expected)
    statuses = [e["status"] for e in pipeline.deployment.cloud.pagerduty.received()]
    assert sorted(statuses) == [202] * (expected - 1) + [400]
    assert pipeline.queue_depth(outputs.PAGES_DEAD_QUEUE_URL) == 0
    log = "\n".join(pipeline.deployment.cloud.logs(pipeline.function(outputs.NOTIFY_PAGERDUTY_FUNCTION)))
    assert "0" * 32 not in log, "the routing key is in no log"


def wait_for(condition, patience_s: float = 40.0):
    """The condition's first true value."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.3)
    return value
