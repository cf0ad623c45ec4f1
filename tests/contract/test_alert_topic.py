"""The alerts topic: programs get JSON, mail gets words, from one publication."""

import json

import boto3
import pytest
from moto import mock_aws

from tests.unit.paging_fakes import alert
from treeline.app.alert import text as alert_text
from treeline.aws.alert.topic import AlertTopic
from treeline.core.alert import Alert


@pytest.fixture
def sns():
    with mock_aws():
        yield boto3.client("sns", region_name="eu-west-1")


def test_a_queue_gets_the_alert_as_json_whatever_mail_gets(sns):
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sqs = boto3.client("sqs", region_name="eu-west-1")
    url = sqs.create_queue(QueueName="pages")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    told = alert(server_id="web-\u00fc")

    AlertTopic(sns, topic, stage="prod").publish(told)

    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert Alert.from_json(json.loads(message["Body"])) == told


def test_one_publication_carries_both_forms():
    class Recorder:
        def publish(self, **request: object) -> None:
            self.request = request

    recorder = Recorder()
    AlertTopic(recorder, "arn:aws:sns:eu-west-1:123456789012:alerts", stage="prod").publish(alert())

    forms = json.loads(recorder.request["Message"])
    assert recorder.request["MessageStructure"] == "json"
    assert set(forms) == {"default", "email"}
    assert forms["email"] == alert_text.mail(alert(), stage="prod")
    assert recorder.request["MessageAttributes"]["priority"] == {"DataType": "String", "StringValue": "P1"}
