"""Deploying, faults, logs to metrics, alarms, PagerDuty, through a deployed stack."""

import json
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emulator.deployment.deploy import DeployError
from tests.emulator.conftest import SmallSystem, wait_for
from tests.emulator.small_stack import write_assembly

pytestmark = pytest.mark.cloud


def test_what_the_templates_say_and_the_emulator_drops_is_set_after_the_deploy(small: SmallSystem):
    ttl = small.cloud.client("dynamodb").describe_time_to_live(TableName="small")["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    assert small.report.actions == {"small": "created"}
    assert small.report.resource_types["AWS::SQS::Queue"] == 3


def test_deploying_the_same_assembly_again_changes_nothing(small: SmallSystem, tmp_path):
    report = small.cloud.deploy(write_assembly(tmp_path))
    assert report.actions == {"small": "unchanged"}
    assert small.stored("warm")


def test_an_unknown_resource_type_fails_and_is_named(small: SmallSystem, tmp_path):
    folder = write_assembly(tmp_path, extra={"Odd": {"Type": "AWS::Nonsense::Thing", "Properties": {}}})
    with pytest.raises(DeployError, match="AWS::Nonsense::Thing"):
        small.cloud.deploy(folder)


def test_a_service_can_be_made_to_refuse_and_recovers(small: SmallSystem):
    small.cloud.faults.add("dynamodb", "BatchWriteItem", "ProvisionedThroughputExceededException", count=3)
    small.put({"n": "throttled"})
    wait_for(lambda: small.stored("throttled"))
    assert small.cloud.faults.clear() == 3


def test_the_error_of_a_refusal_is_the_services_own(small: SmallSystem):
    topic = small.cloud.client("sns").create_topic(Name="refusing")["TopicArn"]
    small.cloud.faults.add("sns", "Publish", "InternalError", status=500, count=1)
    once = Config(retries={"total_max_attempts": 1})
    sns = boto3.client(
        "sns",
        endpoint_url=small.cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=once,
    )
    with pytest.raises(ClientError) as caught:
        sns.publish(TopicArn=topic, Message="m")
    assert caught.value.response["Error"]["Code"] == "InternalError"
    sns.publish(TopicArn=topic, Message="m")


def test_an_embedded_metric_raises_an_alarm_that_clears_again(small: SmallSystem):
    cloudwatch, sns, sqs = (small.cloud.client(name) for name in ("cloudwatch", "sns", "sqs"))
    topic = sns.create_topic(Name="alarm-actions")["TopicArn"]
    url = sqs.create_queue(QueueName="alarm-mail")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:alarm-mail")
    cloudwatch.put_metric_alarm(
        AlarmName="seen",
        Namespace="Small",
        MetricName="Seen",
        Dimensions=[{"Name": "stage", "Value": "test"}],
        Statistic="Maximum",
        Period=5,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=5,
        TreatMissingData="notBreaching",
        AlarmActions=[topic],
        OKActions=[topic],
    )

    def state() -> str:
        return cloudwatch.describe_alarms(AlarmNames=["seen"])["MetricAlarms"][0]["StateValue"]

    wait_for(lambda: state() == "OK")
    small.put({"n": "metric", "do": "metric", "value": 7})
    wait_for(lambda: state() == "ALARM")
    wait_for(lambda: state() == "OK")
    told = []
    while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in received:
            told.append(json.loads(json.loads(message["Body"])["Message"])["NewStateValue"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert told[-2:] == ["ALARM", "OK"]


def test_functions_and_queues_publish_the_metrics_that_aws_publishes(small: SmallSystem):
    cloudwatch = small.cloud.client("cloudwatch")

    def names(namespace: str, dimension: str, value: str) -> set[str]:
        found = cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
        return {m["MetricName"] for m in found if {"Name": dimension, "Value": value} in m["Dimensions"]}

    assert names("AWS/Lambda", "FunctionName", "small-stream") >= {"Invocations", "Errors", "Duration", "IteratorAge"}
    wait_for(lambda: "ApproximateAgeOfOldestMessage" in names("AWS/SQS", "QueueName", "work"))


def _enqueue(small: SmallSystem, event: dict) -> tuple[int, dict]:
    request = urllib.request.Request(small.cloud.pagerduty.url, data=json.dumps(event).encode(), method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def test_the_pagerduty_receiver_keeps_one_alert_per_dedup_key(small: SmallSystem):
    payload = {"summary": "cpu", "source": "web-1", "severity": "critical"}
    trigger = {"routing_key": "k" * 32, "event_action": "trigger", "dedup_key": "web-1", "payload": payload}
    assert _enqueue(small, trigger) == (202, {"status": "success", "message": "Event processed", "dedup_key": "web-1"})
    _enqueue(small, trigger)
    _enqueue(small, {**trigger, "event_action": "acknowledge"})
    assert small.cloud.pagerduty.incidents()["web-1"]["state"] == "acknowledged"
    _enqueue(small, {**trigger, "event_action": "resolve"})
    incident = small.cloud.pagerduty.incidents()["web-1"]
    assert (incident["state"], incident["triggers"], incident["opened"]) == ("resolved", 2, 1)
    status, answer = _enqueue(small, {**trigger, "routing_key": "short"})
    assert (status, answer["status"]) == (400, "invalid event")


def test_the_pagerduty_receiver_fails_on_request(small: SmallSystem):
    small.cloud.pagerduty.fail(429, 1)
    small.cloud.pagerduty.fail(500, 1)
    event = {"routing_key": "k" * 32, "event_action": "resolve", "dedup_key": "web-2"}
    assert [_enqueue(small, event)[0] for _ in range(3)] == [429, 500, 202]
    assert [entry["status"] for entry in small.cloud.pagerduty.received()] == [429, 500, 202]
