"""Tells people what happens to the models: an SNS topic, and PagerDuty change events.

A change event pages nobody; it stands on the service's time line, beside incidents that it may explain. What could not
be sent is logged and counted, and the promotion goes on.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
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


@dataclass(frozen=True, slots=True)
class ModelChanges:
    """Publishes steps; see `treeline.app.promote.ports.Announcer`."""

    sns: SNSClient
    _: KW_ONLY
    topic_arn: str
    pagerduty: TimeLine | None
    source: str  # names this deployment
    clock_ms: Callable[[], int]
    on_failure: Callable[[str, str], None]  # told where something could not be sent, and why

    def tell(self, step: str, summary: str, details: Mapping[str, Any]) -> None:
        """Publish one step."""
        now_ms = self.clock_ms()
        message = {
            "schema_version": 1,
            "event": f"model_{step}",
            "source": self.source,
            "at": iso(now_ms),
            "summary": summary,
            **details,
        }
        try:
            self.sns.publish(
                TopicArn=self.topic_arn,
                Subject=summary.splitlines()[0][:100],
                Message=json.dumps(message),
                MessageAttributes={"event": {"DataType": "String", "StringValue": message["event"]}},
            )
        except (ClientError, BotoCoreError) as error:
            self.on_failure("sns", str(error))
        if self.pagerduty is not None and step in CHANGE_STEPS:
            failure = self.pagerduty.send(summary, details, source=self.source, at_ms=now_ms)
            if failure is not None:
                self.on_failure("pagerduty", failure)
