"""The SNS topic that carries alerts."""

import json

from botocore.exceptions import BotoCoreError, ClientError

from treeline.app.alert import text as alert_text
from treeline.aws.client_types import SNSClient
from treeline.core.alert import Alert
from treeline.core.errors import PublishError


class AlertTopic:
    """Publishes alerts with the attributes that filter policies use: as JSON to programs, in words to mail."""

    def __init__(self, sns: SNSClient, topic_arn: str, *, stage: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn
        self._stage = stage

    def publish(self, alert: Alert) -> None:
        """Tell people; raises PublishError, after which the alert stays in the outbox."""
        try:
            self._sns.publish(
                TopicArn=self._topic_arn,
                Subject=alert_text.subject(alert),
                # One message a protocol: every protocol that is not named gets the default.
                MessageStructure="json",
                Message=json.dumps(
                    {"default": json.dumps(alert.to_json()), "email": alert_text.mail(alert, stage=self._stage)}
                ),
                MessageAttributes={
                    name: {"DataType": kind, "StringValue": value} for name, (kind, value) in alert.attributes().items()
                },
            )
        except (ClientError, BotoCoreError) as error:
            raise PublishError(f"incident {alert.incident_id}: {error}") from error
