"""The adapters against moto: what is written, read back, and what happens when a service refuses."""

import json
from collections.abc import Iterator
from dataclasses import replace

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from tests.unit.paging_fakes import alert
from treeline.app.alert.muting import Muting
from treeline.app.detect.handover import Pointer
from treeline.app.detect.ticks import DelayedTick, Tick, TickCause
from treeline.app.ingest.ports import NumberedReceipt, QuarantinedRecord, Receipt, StreamRecord
from treeline.aws.alert.controls import ServerLabelTable
from treeline.aws.detect.endpoint_status import SageMakerEndpointStatus
from treeline.aws.detect.group_observations import GroupObservations
from treeline.aws.detect.ticks import SqsDeadTicks, SqsTickQueue
from treeline.aws.ingest.observations import DynamoObservationStore, to_item
from treeline.aws.ingest.quarantine import S3Quarantine, to_line
from treeline.aws.ingest.servers import DynamoServerRegistry, server_count
from treeline.aws.promote.hosting import HostingSettings, SageMakerHosting
from treeline.aws.sqs import SqsMessageDelay
from treeline.core.errors import StoreUnavailableError
from treeline.core.observation import Observation
from treeline.core.rejection import Rejection, RejectionReason
from treeline.core.times import iso, parse_iso
from treeline.receivers.pagerduty.client import SecretsManagerRoutingKey

KEY = "R0UTINGKEY0123456789abcdef012345"
RECEIVED = parse_iso("2026-11-22T15:58:31.087Z")
OBSERVED = parse_iso("2026-11-22T15:58:30Z")


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield


@pytest.fixture
def dynamodb():
    client = boto3.client("dynamodb")
    for table, keys in (("observations", ["server_id", "observed_at"]), ("servers", ["server_id"])):
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
            BillingMode="PAY_PER_REQUEST",
        )
    return client


@pytest.fixture
def sqs():
    return boto3.client("sqs")


class Faulty:
    """A client that answers some calls of one method by an error or a made-up response, then as it should."""

    def __init__(self, client: object, method: str, *faults: Exception | dict) -> None:
        self._client = client
        self._method = method
        self._faults = list(faults)

    def __getattr__(self, name: str):
        real = getattr(self._client, name)

        def call(**kwargs: object):
            if name == self._method and self._faults:
                fault = self._faults.pop(0)
                if isinstance(fault, Exception):
                    raise fault
                return fault
            return real(**kwargs)

        return call


def refusal(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Call")


def receipt(server_id: str, at_ms: int = OBSERVED, received_at_ms: int = RECEIVED, **values: float) -> Receipt:
    metrics = values or {"cpu_percent": 41.5}
    observation = Observation(server_id=server_id, observed_at_ms=at_ms, metrics=metrics, labels={"tier": "web"})
    return Receipt(observation=observation, received_at_ms=received_at_ms)


def rows(count: int) -> list[NumberedReceipt]:
    return [NumberedReceipt(receipt=receipt(f"web-{i:03d}"), group=i // 50) for i in range(count)]


def store(client: object, waits: list[float] | None = None, threads: int = 1) -> DynamoObservationStore:
    return DynamoObservationStore(
        client,
        table="observations",
        ttl_s=172_800,
        threads=threads,
        sleep=(waits if waits is not None else []).append,
        random=lambda: 0.5,
    )


def registry(client: object, errors: list[Exception] | None = None) -> DynamoServerRegistry:
    return DynamoServerRegistry(
        client,
        table="servers",
        group_size=50,
        threads=2,
        sleep=lambda _: None,
        random=lambda: 0.5,
        on_unseen=(errors if errors is not None else []).append,
    )


def items(client, table: str) -> list[dict]:
    return [item for page in client.get_paginator("scan").paginate(TableName=table) for item in page["Items"]]


def server(client, server_id: str) -> dict:
    return client.get_item(TableName="servers", Key={"server_id": {"S": server_id}})["Item"]


# Observations


def test_an_observation_is_written_as_the_readers_expect_it():
    item = to_item(NumberedReceipt(receipt=receipt("web-042", cpu_percent=0.1), group=3), ttl_s=172_800)

    assert item == {
        "server_id": {"S": "web-042"},
        "observed_at": {"S": "2026-11-22T15:58:30.000Z"},
        "group": {"N": "3"},
        "group_sort": {"S": "2026-11-22T15:58:30.000Z#web-042"},
        "metrics": {"M": {"cpu_percent": {"N": "0.1"}}},
        "labels": {"M": {"tier": {"S": "web"}}},
        "received_at": {"S": "2026-11-22T15:58:31.087Z"},
        "source": {"S": "kinesis"},
        "expires_at": {"N": str(RECEIVED // 1000 + 172_800)},
    }


@pytest.mark.parametrize("value", [0.1, 1 / 3, 2**53 + 1.0, 1e-130, 9.9e125, -9.9e125, 5e-100, 0.0, 1e16])
def test_a_float_survives_the_table_exactly(dynamodb, value):
    store(dynamodb).append([NumberedReceipt(receipt=receipt("a", load=value), group=0)])

    [item] = items(dynamodb, "observations")
    assert float(item["metrics"]["M"]["load"]["N"]) == value


@pytest.mark.parametrize("count", [0, 1, 25, 26, 120])
def test_any_number_of_rows_is_written_and_again_changes_nothing(dynamodb, count):
    observations = store(dynamodb, threads=4)

    results = [observations.append(rows(count)) for _ in range(2)]

    assert len(items(dynamodb, "observations")) == count
    assert [(list(r.failed), dict(r.refused)) for r in results] == [([], {})] * 2


def test_what_the_table_leaves_unprocessed_is_written_after_a_wait(dynamodb):
    waits: list[float] = []
    left = [{"PutRequest": {"Item": to_item(row, ttl_s=0)}} for row in rows(3)[1:]]
    client = Faulty(dynamodb, "batch_write_item", {"UnprocessedItems": {"observations": left}})

    result = store(client, waits).append(rows(3))

    # The made-up answer claims that the first was written.
    assert len(items(dynamodb, "observations")) == 2
    assert (list(result.failed), waits) == ([], [0.025])


def test_rows_that_stay_throttled_are_reported_by_position(dynamodb):
    faults = [refusal("ProvisionedThroughputExceededException")] * 6
    waits: list[float] = []

    result = store(Faulty(dynamodb, "batch_write_item", *faults), waits).append(rows(3))

    assert sorted(result.failed) == [0, 1, 2]
    assert waits == sorted(waits)
    assert len(waits) == 5


def test_a_servers_later_observations_are_not_written_before_its_earlier_ones(dynamodb):
    """Detect reads while ingest writes; what is written late is scored late."""
    one_server = [NumberedReceipt(receipt=receipt("a", OBSERVED + i), group=0) for i in range(60)]
    faults = [{}, *[refusal("ThrottlingException")] * 6]

    result = store(Faulty(dynamodb, "batch_write_item", *faults), threads=4).append(one_server)

    # The made-up answer claims the first 25; the next 25 stay throttled, so the last 10 are not tried.
    assert sorted(result.failed) == list(range(25, 60))
    assert items(dynamodb, "observations") == []


def test_nothing_is_written_past_a_failure_so_that_a_server_s_observations_appear_in_order(dynamodb):
    faults = [refusal("ProvisionedThroughputExceededException")] * 6

    result = store(Faulty(dynamodb, "batch_write_item", *faults)).append(rows(60))

    assert sorted(result.failed) == list(range(60))
    assert items(dynamodb, "observations") == []


def test_no_connection_is_for_now_and_a_missing_table_is_our_mistake(dynamodb):
    gone = EndpointConnectionError(endpoint_url="http://dynamodb")
    assert not store(Faulty(dynamodb, "batch_write_item", gone)).append(rows(1)).failed

    with pytest.raises(ClientError, match="ResourceNotFound"):
        store(Faulty(dynamodb, "batch_write_item", refusal("ResourceNotFoundException"))).append(rows(1))


def test_one_item_the_table_refuses_does_not_take_its_batch_with_it(dynamodb):
    faults = [refusal("ValidationException"), {}, refusal("ValidationException")]

    result = store(Faulty(dynamodb, "batch_write_item", *faults)).append(rows(5))

    assert dict(result.refused) == {1: "item: no"}
    assert list(result.failed) == []


# Servers


def test_servers_are_numbered_without_gaps_in_order_of_first_appearance(dynamodb):
    ids = [f"s{i}" for i in range(230)]

    registration = registry(dynamodb).register([receipt(s) for s in [*ids, *ids]])

    assert registration.numbers == {s: i for i, s in enumerate(ids)}
    assert registration.new_servers == 230
    assert server_count(dynamodb, "servers") == 230
    assert server(dynamodb, "s149") == {
        "server_id": {"S": "s149"},
        "number": {"N": "149"},
        "group": {"N": "2"},
        "first_seen": {"S": "2026-11-22T15:58:30.000Z"},
        "last_seen": {"S": "2026-11-22T15:58:30.000Z"},
        "last_received_at": {"S": "2026-11-22T15:58:31.087Z"},
        "labels": {"M": {"tier": {"S": "web"}}},
    }


def test_a_number_never_changes_whoever_asks(dynamodb):
    first, second = registry(dynamodb), registry(dynamodb)
    first.register([receipt("a"), receipt("b")])

    assert second.register([receipt("c"), receipt("b")]).numbers == {"c": 2, "b": 1}
    assert first.register([receipt("c"), receipt("a")]).numbers == {"c": 2, "a": 0}


def test_two_workers_at_once_neither_skip_nor_share_a_number(dynamodb):
    """The second worker reads the counter, then the first commits."""

    class Overtaken:
        def __init__(self) -> None:
            self.once = True

        def __getattr__(self, name: str):
            return getattr(dynamodb, name)

        def transact_write_items(self, **kwargs: object):
            if self.once:
                self.once = False
                registry(dynamodb).register([receipt("b"), receipt("x")])
            return dynamodb.transact_write_items(**kwargs)

    registration = registry(Overtaken()).register([receipt("a"), receipt("b"), receipt("c")])

    assert registration.numbers == {"b": 0, "a": 2, "c": 3}
    assert registration.new_servers == 2
    assert server_count(dynamodb, "servers") == 4


def test_a_server_that_could_not_be_looked_up_keeps_its_number(dynamodb):
    """The look-up leaves it unprocessed to the end; only the condition of the put knows that it is there."""
    registry(dynamodb).register([receipt("a")])
    busy = {"Responses": {}, "UnprocessedKeys": {"servers": {"Keys": [{"server_id": {"S": "a"}}]}}}

    registration = registry(Faulty(dynamodb, "batch_get_item", *[busy] * 12)).register([receipt("a")])

    assert (registration.numbers, registration.new_servers) == ({"a": 0}, 0)
    assert server_count(dynamodb, "servers") == 1


def test_no_server_yet_is_a_count_of_zero(dynamodb):
    assert server_count(dynamodb, "servers") == 0


def test_a_known_server_costs_no_call_until_five_minutes_have_passed(dynamodb):
    servers = registry(dynamodb)
    servers.register([receipt("a")])
    dynamodb.delete_table(TableName="servers")

    numbers = servers.register([receipt("a", OBSERVED + 299_000, RECEIVED + 299_000)]).numbers

    assert numbers == {"a": 0}


def test_last_seen_moves_every_quarter_of_an_hour_and_never_back(dynamodb):
    servers = registry(dynamodb)
    servers.register([receipt("a")])

    servers.register([receipt("a", OBSERVED + 300_000, RECEIVED + 900_000)])
    servers.register([receipt("a", OBSERVED - 1_000_000, RECEIVED + 1_800_000)])

    assert server(dynamodb, "a")["last_seen"] == {"S": "2026-11-22T16:03:30.000Z"}
    assert server(dynamodb, "a")["last_received_at"] == {"S": "2026-11-22T16:28:31.087Z"}
    assert server(dynamodb, "a")["first_seen"] == {"S": "2026-11-22T15:58:30.000Z"}


def test_labels_of_observations_reach_alerts_and_what_sns_filters_by(dynamodb):
    """environment and tier; an observation without labels takes none away."""
    servers, labelled = registry(dynamodb), {"environment": "prod", "tier": "web"}
    first = Observation(server_id="a", observed_at_ms=OBSERVED, metrics={"cpu_percent": 1.0}, labels=labelled)
    servers.register([Receipt(observation=first, received_at_ms=RECEIVED)])
    bare = Observation(server_id="a", observed_at_ms=OBSERVED + 900_000, metrics={"cpu_percent": 1.0}, labels={})
    servers.register([Receipt(observation=bare, received_at_ms=RECEIVED + 900_000)])

    muting = Muting(labels=ServerLabelTable(dynamodb, "servers"))
    [told] = muting.apply([alert(server_id="a", labels={})], {}, event_ms=OBSERVED, next_step=lambda _: 2)

    assert server(dynamodb, "a")["last_seen"] == {"S": iso(OBSERVED + 900_000)}
    assert told.labels == labelled
    assert told.attributes()["environment"] == ("String", "prod")
    assert told.attributes()["tier"] == ("String", "web")


def test_a_last_seen_that_cannot_be_written_fails_nothing(dynamodb):
    errors: list[Exception] = []
    servers = registry(Faulty(dynamodb, "update_item", refusal("ThrottlingException")), errors)
    servers.register([receipt("a")])

    registration = servers.register([receipt("a", OBSERVED, RECEIVED + 900_000)])

    assert (registration.numbers, len(errors)) == ({"a": 0}, 1)


@pytest.mark.parametrize("method", ["batch_get_item", "get_item", "transact_write_items"])
def test_a_throttled_servers_table_leaves_new_servers_out_and_known_ones_in(dynamodb, method):
    client = Faulty(dynamodb, method)
    servers = registry(client)
    servers.register([receipt("a")])
    client._faults = [refusal("ThrottlingException")]

    assert servers.register([receipt("a"), receipt("b")]).numbers == {"a": 0}
    assert servers.register([receipt("a"), receipt("b")]).numbers == {"a": 0, "b": 1}


# Quarantine


def quarantined() -> QuarantinedRecord:
    record = StreamRecord(shard_id="shardId-000000000006", sequence_number="42", received_at_ms=RECEIVED, data=b"\xff")
    rejection = Rejection(reason=RejectionReason.NOT_UTF8, detail="record: expected UTF-8", raw=b"\xff")
    return QuarantinedRecord(record=record, rejection=rejection)


def test_a_rejected_record_is_kept_with_all_it_takes_to_put_it_back():
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="quarantine", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    entry = quarantined()

    for _ in range(2):
        S3Quarantine(s3, bucket="quarantine").put(entry.record, [entry, entry])

    [listed] = s3.list_objects_v2(Bucket="quarantine")["Contents"]
    assert listed["Key"] == "quarantine/2026/11/22/15/shardId-000000000006-42.jsonl"
    lines = s3.get_object(Bucket="quarantine", Key=listed["Key"])["Body"].read().splitlines()
    assert [json.loads(line) for line in lines] == 2 * [
        {
            "reason": "not_utf8",
            "detail": "record: expected UTF-8",
            "raw": "/w==",
            "shard_id": "shardId-000000000006",
            "sequence_number": "42",
            "received_at": "2026-11-22T15:58:31.087Z",
        }
    ]


def test_a_value_set_aside_alone_is_kept_with_the_name_of_its_metric():
    """So that who puts records back knows which were stored without it."""
    entry = quarantined()
    of_value = replace(entry, rejection=replace(entry.rejection, metric="cpu_percent"))

    assert json.loads(to_line(of_value)) == {**json.loads(to_line(entry)), "metric": "cpu_percent"}


def test_a_bucket_that_is_busy_is_told_from_one_that_is_missing():
    s3, entry = boto3.client("s3"), quarantined()

    with pytest.raises(StoreUnavailableError):
        S3Quarantine(Faulty(s3, "put_object", refusal("SlowDown", 503)), bucket="b").put(entry.record, [entry])
    with pytest.raises(ClientError, match="NoSuchBucket"):
        S3Quarantine(s3, bucket="b").put(entry.record, [entry])


# Queues


def ticks(count: int, delay_s: int = 0) -> list[DelayedTick]:
    return [
        DelayedTick(tick=Tick(group=g, since_ms=None, cause=TickCause.HEARTBEAT), delay_s=delay_s) for g in range(count)
    ]


def test_more_ticks_than_one_call_takes_arrive_once_each(sqs):
    url = sqs.create_queue(QueueName="ticks")["QueueUrl"]

    failed = SqsTickQueue(sqs, queue_url=url, on_failure=pytest.fail).send(ticks(23))

    dead = SqsDeadTicks(sqs, queue_url=url, hold_s=50, wait_s=0).receive(100)
    assert failed == []
    assert sorted(Tick.from_body(m.body).group for m in dead) == list(range(23))


def test_a_delayed_tick_is_not_there_yet(sqs):
    url = sqs.create_queue(QueueName="ticks")["QueueUrl"]

    SqsTickQueue(sqs, queue_url=url, on_failure=pytest.fail).send(ticks(1, delay_s=30))

    assert SqsDeadTicks(sqs, queue_url=url, hold_s=50, wait_s=0).receive(1) == []


def test_ticks_sqs_does_not_take_are_returned_with_the_reason_logged(sqs):
    url = sqs.create_queue(QueueName="ticks")["QueueUrl"]
    partly = {"Failed": [{"Id": "11", "Code": "InternalError", "SenderFault": False}]}
    said: list[str] = []
    client = Faulty(sqs, "send_message_batch", refusal("ServiceUnavailable", 503), partly)

    failed = SqsTickQueue(client, queue_url=url, on_failure=said.append).send(ticks(15))

    assert failed == [*range(10), 11]
    assert len(said) == 2


def test_dead_ticks_are_hidden_when_taken_then_deleted_or_shown_again(sqs):
    url = sqs.create_queue(QueueName="ticks-dead")["QueueUrl"]
    SqsTickQueue(sqs, queue_url=url, on_failure=pytest.fail).send(ticks(12))
    dead = SqsDeadTicks(sqs, queue_url=url, hold_s=50, wait_s=0)

    taken = dead.receive(11)
    rest = dead.receive(100)
    left = dead.delete(taken[:10])
    dead.release(taken[10:])

    assert (len(taken), len(rest), left) == (11, 1, 0)
    assert [m.message_id for m in dead.receive(100)] == [taken[10].message_id]
    assert all(m.sent_at_ms > 0 for m in taken)


def test_a_page_is_put_off_and_a_queue_that_refuses_is_only_told_of(sqs):
    url = sqs.create_queue(QueueName="pages")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    errors: list[Exception] = []
    queue = SqsMessageDelay(sqs, queue_url=url, on_failure=errors.append)

    queue.delay(message["ReceiptHandle"], 0)
    [again] = sqs.receive_message(QueueUrl=url)["Messages"]
    queue.delay(again["ReceiptHandle"], 900)
    hidden = sqs.receive_message(QueueUrl=url).get("Messages", [])
    queue.delay("stale handle", 5)

    assert (hidden, len(errors)) == ([], 1)


# Endpoint and secret


class SageMaker:
    """moto's own endpoint is always InService; what is under test is the reading of the answer."""

    def __init__(self, answer: dict | Exception) -> None:
        self.answer = answer

    def describe_endpoint(self, **_: object) -> dict:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_the_status_is_sagemakers_own_and_none_for_a_name_it_does_not_know():
    def status(answer: dict | Exception) -> str | None:
        return SageMakerEndpointStatus(SageMaker(answer), endpoint_name="treeline-dev").status()

    assert status({"EndpointStatus": "RollingBack"}) == "RollingBack"
    assert status(refusal("ValidationException")) is None
    with pytest.raises(ClientError, match="AccessDenied"):
        status(refusal("AccessDeniedException"))


@pytest.mark.parametrize(
    ("hosted", "pointed_at", "serves"),
    [(["m2"], "m2", True), (["m1", "m2"], "m2", True), (["m1"], "m2", False), (["blue"], "", True), ([], "", False)],
)
def test_an_endpoint_serves_the_model_whose_variant_it_hosts(hosted, pointed_at, serves):
    answer = {"EndpointStatus": "InService", "ProductionVariants": [{"VariantName": name} for name in hosted]}
    settings = HostingSettings(endpoint_name="treeline-dev", role_arn="arn:role")
    pointer = Pointer(model_version="2", package_key="k", target_variant=pointed_at)

    assert SageMakerHosting(SageMaker(answer), None, settings).serves(pointer) is serves
    assert not SageMakerHosting(SageMaker(refusal("ValidationException")), None, settings).serves(pointer)


@pytest.mark.parametrize("secret", [KEY, f" {KEY}\n", f'{{"routing_key": "{KEY}"}}'])
def test_the_routing_key_is_the_secret_or_a_field_of_it(secret):
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="pagerduty", SecretString=secret)["ARN"]

    assert SecretsManagerRoutingKey(client, secret_arn=arn).fetch().reveal() == KEY


@pytest.mark.parametrize(
    "secret", ["", " ", "hush", "hush " * 8, '{"key": "hush"}', '{"routing_key": 7}', '{"hush', '{"routing_key": ""}']
)
def test_a_secret_without_a_key_is_said_without_showing_it(secret):
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="pagerduty", SecretString=secret or " ")["ARN"]

    with pytest.raises(LookupError) as caught:
        SecretsManagerRoutingKey(client, secret_arn=arn).fetch()

    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_that_is_not_there_is_a_lookup_error():
    with pytest.raises(LookupError, match="no routing key yet"):
        SecretsManagerRoutingKey(boto3.client("secretsmanager"), secret_arn="none").fetch()


def test_a_secret_that_is_made_but_not_filled_says_what_to_do():
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="pagerduty")["ARN"]

    with pytest.raises(LookupError, match="put the PagerDuty key in"):
        SecretsManagerRoutingKey(client, secret_arn=arn).fetch()


def test_a_batch_is_written_in_event_time_order_whatever_order_it_came_in(dynamodb):
    """Detect may read between two writes: a later observation must not be there before an earlier one."""
    written: list[str] = []

    class Watched:
        def batch_write_item(self, **request):
            written.extend(r["PutRequest"]["Item"]["observed_at"]["S"] for r in request["RequestItems"]["observations"])
            return dynamodb.batch_write_item(**request)

    late_first = [NumberedReceipt(receipt=receipt("a", OBSERVED + 1000 * (60 - i)), group=0) for i in range(60)]
    result = store(Watched()).append(late_first)

    assert (result.failed, len(written)) == ([], 60)
    assert written == sorted(written)


def with_index_by_group(dynamodb):
    """The observations table with the index that detect reads."""
    index = {"IndexName": "by-group", "Projection": {"ProjectionType": "ALL"}}
    keys = [{"AttributeName": "group", "KeyType": "HASH"}, {"AttributeName": "group_sort", "KeyType": "RANGE"}]
    kinds = [{"AttributeName": n, "AttributeType": t} for n, t in (("group", "N"), ("group_sort", "S"))]
    dynamodb.update_table(
        TableName="observations",
        AttributeDefinitions=kinds,
        GlobalSecondaryIndexUpdates=[{"Create": {**index, "KeySchema": keys}}],
    )
    return dynamodb


def test_observations_are_read_from_a_time_on_and_up_to_another(dynamodb):
    """The end is not read, whatever the server is called."""
    store(with_index_by_group(dynamodb)).append(
        [NumberedReceipt(receipt=receipt(name, OBSERVED + 1000 * i), group=0) for name in ("a", "!") for i in range(5)]
    )

    observations = GroupObservations(dynamodb, "observations")

    def read(**more):
        found = observations.read(0, OBSERVED + 1000, ("cpu_percent",), skip=lambda *_: False, limit=100, **more)
        return [(at - OBSERVED) // 1000 for at in found.observed_at.tolist()]

    assert read() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert read(until_ms=OBSERVED + 3000) == [1, 1, 2, 2]


def test_a_value_beyond_float32_is_read_as_large_and_stays_a_number(dynamodb):
    """In a metric without a declared range it passes ingest (DynamoDB takes up to 1e125); alerts have to be JSON."""
    store(with_index_by_group(dynamodb)).append(
        [NumberedReceipt(receipt=receipt("a", cpu_percent=1e120, temp=-1e39), group=0)]
    )

    read = GroupObservations(dynamodb, "observations").read(
        0, 0, ("cpu_percent", "temp", "none"), skip=lambda *_: False, limit=10
    )

    assert np.isfinite(read.values[0, :2]).all()
    assert (read.values[0, 0], read.values[0, 1]) == (np.finfo(np.float32).max, -np.finfo(np.float32).max)
    assert np.isnan(read.values[0, 2])
