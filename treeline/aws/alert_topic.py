"""The SNS topic that carries alerts."""

import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from treeline.core.alert import Alert
from treeline.core.errors import PublishError

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class AlertTopic:
    """Publishes alerts with the attributes that filter policies use."""

    def __init__(self, sns: "SNSClient", topic_arn: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn

    def publish(self, alert: Alert) -> None:
        """Tell people; raises PublishError, after which the alert stays in the outbox."""
        try:
            self._sns.publish(
                TopicArn=self._topic_arn,
                Subject=f"{alert.priority.value} {alert.event.value}: {alert.server_id}"[:100],
                Message=json.dumps(alert.to_json()),
                MessageAttributes={
                    name: {"DataType": kind, "StringValue": value} for name, (kind, value) in alert.attributes().items()
                },
            )
        except (ClientError, BotoCoreError) as error:
            raise PublishError(f"incident {alert.incident_id}: {error}") from error
