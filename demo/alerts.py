"""What people would see: alerts as the topic delivers them, read from a queue of our own."""

import json
from typing import Any

from demo.cloud import Deployment
from treeline.core.alert import Alert
from treeline.settings import outputs


class AlertFeed:
    """A queue subscribed to the alerts topic, as any other receiver would be."""

    def __init__(self, deployment: Deployment) -> None:
        self._sqs = deployment.client("sqs")
        sns = deployment.client("sns")
        self._url = self._sqs.create_queue(QueueName="treeline-demo-alerts")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(
            TopicArn=deployment.output(outputs.ALERTS_TOPIC_ARN),
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )

    def read(self) -> list[Alert]:
        """Alerts delivered since the last call."""
        alerts: list[Alert] = []
        while True:
            messages: list[dict[str, Any]] = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=0
            ).get("Messages", [])
            if not messages:
                return alerts
            for message in messages:
                alerts.append(Alert.from_json(json.loads(message["Body"])))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
