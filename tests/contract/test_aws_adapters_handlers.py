"""The four handlers with real event payloads against moto: what they answer, write and count."""

import base64
import importlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from moto import mock_aws

from tests.unit.paging_fakes import Receiver
from treeline.app.detect.ticks import Tick, TickCause
from treeline.aws.ingest.kinesis import partial_batch_response
from treeline.core.alert import Alert
from treeline.core.profile import DEFAULT_METRICS, to_json

EVENTS = Path(__file__).parent.parent / "events"
CONTEXT = SimpleNamespace(
    aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef", get_remaining_time_in_millis=lambda: 30_000
)
KEY = "R0UTINGKEY0123456789abcdef012345"


def event(name: str) -> dict:
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "STAGE": "test",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        client = boto3.client("dynamodb")
        for table, keys in (("observations", ["server_id", "observed_at"]), ("servers", ["server_id"])):
            schema = zip(keys, ("HASH", "RANGE"), strict=False)
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in schema],
                AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
                BillingMode="PAY_PER_REQUEST",
            )
        client.create_table(
            TableName="pages",
            KeySchema=[{"AttributeName": "dedup_key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "dedup_key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        location = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3").create_bucket(Bucket="quarantine", CreateBucketConfiguration=location)
        sqs = boto3.client("sqs")
        for queue in ("ticks", "ticks-dead", "pages"):
            sqs.create_queue(QueueName=queue)
        yield


def url(queue: str) -> str:
    return boto3.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]


def bodies(queue: str) -> list[str]:
    answer = boto3.client("sqs").receive_message(QueueUrl=url(queue), MaxNumberOfMessages=10)
    return [m["Body"] for m in answer.get("Messages", [])]


def handler(name: str, monkeypatch: pytest.MonkeyPatch, **env: str):
    """The function's handler, composed anew from these settings as in a cold start."""
    for key, value in env.items():
        monkeypatch.setenv(key.upper(), value)
    module = importlib.import_module(f"lambdas.{name}.handler")
    module.wired.cache_clear()
    # A logger keeps the output it was made with, and pytest gives each test its own.
    logging.root.manager.loggerDict.pop(name, None)
    return module.handler


def emitted(output: str) -> dict[str, float]:
    """EMF metrics by name, and by name and reason where there is one; each blob is in our namespace."""
    values: dict[str, float] = {}
    for line in output.splitlines():
        blob = json.loads(line)
        if "_aws" not in blob:
            continue
        [directive] = blob["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Treeline"
        assert blob["stage"] == "test"
        for metric in directive["Metrics"]:
            name = metric["Name"]
            value = blob[name]
            extra = [d for d in directive["Dimensions"][0] if d not in ("service", "stage")]
            values[":".join([name, *(blob[d] for d in extra)])] = value[0] if isinstance(value, list) else value
    return values


def ingest(monkeypatch: pytest.MonkeyPatch):
    return handler(
        "ingest",
        monkeypatch,
        metrics=to_json(DEFAULT_METRICS),
        observations_table="observations",
        servers_table="servers",
        quarantine_bucket="quarantine",
        tick_queue_url=url("ticks"),
    )


def test_a_kinesis_batch_is_stored_set_aside_counted_and_ticked(monkeypatch, capsys):
    answer = ingest(monkeypatch)(event("kinesis"), CONTEXT)

    assert answer == {"batchItemFailures": []}
    [item] = boto3.client("dynamodb").scan(TableName="observations")["Items"]
    assert (item["server_id"], item["received_at"]) == ({"S": "web-042"}, {"S": "2026-11-22T15:58:31.087Z"})
    [kept] = boto3.client("s3").list_objects_v2(Bucket="quarantine")["Contents"]
    assert kept["Key"].startswith("quarantine/2026/11/22/15/shardId-000000000006-4959033827149025660855969253836")
    assert [Tick.from_body(b).group for b in bodies("ticks")] == [0]
    output = capsys.readouterr().out
    values = emitted(output)
    assert {name: values[name] for name in ("RecordsReceived", "ObservationsStored", "ServersRegistered")} == {
        "RecordsReceived": 2.0,
        "ObservationsStored": 1.0,
        "ServersRegistered": 1.0,
    }
    assert values["RecordsQuarantined"] == values["RecordsQuarantined:not_json"] == 1.0
    log = next(line for line in map(json.loads, output.splitlines()) if line.get("message") == "batch ingested")
    assert (log["service"], log["stage"], log["function_request_id"]) == ("ingest", "test", CONTEXT.aws_request_id)


def test_a_bad_value_is_counted_by_its_reason(monkeypatch, capsys):
    body = {"server_id": "a", "observed_at": "2026-11-22T15:58:30Z", "metrics": {"cpu_percent": 250, "disk_iops": 4}}
    batch = event("kinesis")
    batch["Records"][0]["kinesis"]["data"] = base64.b64encode(json.dumps(body).encode()).decode()

    ingest(monkeypatch)(batch, CONTEXT)

    values = emitted(capsys.readouterr().out)
    assert values["ValuesSetAside"] == values["ValuesSetAside:metric_out_of_range"] == 1.0
    assert (values["ObservationsStored"], values["RecordsQuarantined"]) == (1.0, 1.0)


def test_the_answer_names_the_record_to_resume_from():
    assert partial_batch_response("4959") == {"batchItemFailures": [{"itemIdentifier": "4959"}]}


def test_a_failed_invocation_is_counted_and_raised_for_lambda_to_retry(monkeypatch, capsys):
    boto3.client("dynamodb").delete_table(TableName="servers")

    with pytest.raises(Exception, match="ResourceNotFound"):
        ingest(monkeypatch)(event("kinesis"), CONTEXT)

    assert emitted(capsys.readouterr().out)["InvocationsFailed"] == 1.0


def test_the_heartbeat_ticks_each_group(monkeypatch, capsys):
    ingest(monkeypatch)(event("kinesis"), CONTEXT)
    bodies("ticks")
    capsys.readouterr()

    handler("dispatch", monkeypatch, servers_table="servers", tick_queue_url=url("ticks"))(event("schedule"), CONTEXT)

    assert [Tick.from_body(b).cause for b in bodies("ticks")] == [TickCause.HEARTBEAT]
    counted = {"Groups": 1.0, "ServersExpected": 1.0, "TicksSent": 2.0, "TicksFailed": 0.0}
    assert emitted(capsys.readouterr().out) == counted


def test_dead_ticks_wait_for_an_endpoint_that_is_not_there_and_then_go_back(monkeypatch, capsys):
    sqs, sagemaker = boto3.client("sqs"), boto3.client("sagemaker")
    body = Tick(group=3, since_ms=None, cause=TickCause.OBSERVATIONS).to_body()
    sqs.send_message(QueueUrl=url("ticks-dead"), MessageBody=body)
    sqs.send_message(QueueUrl=url("ticks-dead"), MessageBody="not a tick")
    reprocess = handler(
        "reprocess",
        monkeypatch,
        tick_queue_url=url("ticks"),
        dead_letter_queue_url=url("ticks-dead"),
        endpoint_name="treeline-test",
        redrive_max_delay_s="0",
    )

    reprocess(event("schedule"), CONTEXT)
    assert emitted(capsys.readouterr().out)["TicksRedriven"] == 0.0
    assert bodies("ticks") == []

    variant = {"VariantName": "blue", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/sagemaker")
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="treeline-test", EndpointConfigName="c")
    reprocess(event("schedule"), CONTEXT)

    output = capsys.readouterr().out
    assert [Tick.from_body(b).cause for b in bodies("ticks")] == [TickCause.REDRIVE]
    assert (emitted(output)["TicksRedriven"], emitted(output)["DeadTicksMalformed"]) == (1.0, 1.0)
    assert '"body":"not a tick"' in output
    counts = sqs.get_queue_attributes(QueueUrl=url("ticks-dead"), AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "1"


@pytest.mark.parametrize(
    ("status", "failed", "counted"),
    [(202, 0, "PagesDelivered"), (400, 0, "PagesFailed:rejected"), (503, 1, "PagesFailed:server_error")],
)
def test_a_page_is_delivered_refused_or_put_off(monkeypatch, capsys, status, failed, counted):
    arn = boto3.client("secretsmanager").create_secret(Name="pagerduty", SecretString=KEY)["ARN"]
    with Receiver((status, f"you sent {KEY}", {})).listening() as receiver:
        notify = handler(
            "notify_pagerduty",
            monkeypatch,
            page_queue_url=url("pages"),
            pages_table="pages",
            routing_key_secret_arn=arn,
            events_url=receiver.url,
        )
        answer = notify(event("sqs_pages"), CONTEXT)

    output = capsys.readouterr().out
    assert len(answer["batchItemFailures"]) == failed
    assert emitted(output)[counted] == 1.0
    assert receiver.bodies[0]["routing_key"] == KEY
    assert KEY not in output
    if status == 400:
        [line] = [x for x in map(json.loads, output.splitlines()) if x.get("level") == "ERROR"]
        asked = json.loads(event("sqs_pages")["Records"][0]["body"])  # of an earlier version, with fewer fields
        assert Alert.from_json(line["alert"]) == Alert.from_json(asked)


def test_the_sample_event_holds_what_it_says():
    data = event("kinesis")["Records"][0]["kinesis"]["data"]

    assert json.loads(base64.b64decode(data))["server_id"] == "web-042"
