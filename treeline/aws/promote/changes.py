"""Tells people what happens to the models: an SNS topic, and PagerDuty change events.

A change event pages nobody; it stands on the service's time line, beside the incidents it may explain. Telling must
not fail what is told about: what could not be sent is logged and counted.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from treeline.aws.client_types import SNSClient
from treeline.core.times import iso

# Steps worth a line on PagerDuty's time line: those that change what is deployed, or say that it will not change.
CHANGE_STEPS = frozenset({"canary", "cut_over", "done", "rolling_back", "rolled_back", "refused", "retraining"})


class TimeLine(Protocol):
    """Where changes stand beside incidents, such as PagerDuty's time line."""

    def send(self, summary: str, details: Mapping[str, Any], *, source: str, at_ms: int) -> str | None:
        """Send one; None, or why it was not taken."""


class ModelChanges:
    """Publishes steps; see `treeline.app.promote.ports.Announcer`.

    Args:
        sns: The client.
        topic_arn: Of changes to the models.
        pagerduty: None where PagerDuty is not used.
        source: Names this deployment.
        clock_ms: The time told.
        on_failure: Told what could not be sent.
    """

    def __init__(
        self,
        sns: SNSClient,
        *,
        topic_arn: str,
        pagerduty: TimeLine | None,
        source: str,
        clock_ms: Callable[[], int],
        on_failure: Callable[[str, str], None],
    ) -> None:
        self._sns = sns
        self._topic_arn = topic_arn
        self._pagerduty = pagerduty
        self._source = source
        self._clock_ms = clock_ms
        self._on_failure = on_failure

    def tell(self, step: str, summary: str, details: Mapping[str, Any]) -> None:
        """Publish one step."""
        now_ms = self._clock_ms()
        message = {
            "schema_version": 1,
            "event": f"model_{step}",
            "source": self._source,
            "at": iso(now_ms),
            "summary": summary,
            **details,
        }
        try:
            self._sns.publish(
                TopicArn=self._topic_arn,
                Subject=summary.splitlines()[0][:100],
                Message=json.dumps(message),
                MessageAttributes={"event": {"DataType": "String", "StringValue": message["event"]}},
            )
        except (ClientError, BotoCoreError) as error:
            self._on_failure("sns", str(error))
        if self._pagerduty is not None and step in CHANGE_STEPS:
            failure = self._pagerduty.send(summary, details, source=self._source, at_ms=now_ms)
            if failure is not None:
                self._on_failure("pagerduty", failure)
