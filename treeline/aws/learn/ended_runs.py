"""Tells the operations topic how training runs ended."""

import json
from dataclasses import KW_ONLY, dataclass
from typing import Any

from treeline.app.learn.training_runs import TrainingPipeline, TrainingRun, message
from treeline.aws.client_types import SNSClient

_SUBJECT_LIMIT = 100  # characters, SNS


@dataclass(frozen=True, slots=True)
class EndedRuns:
    """Looks a run up and publishes what became of it, with the runbook for one that failed."""

    pipeline: TrainingPipeline
    sns: SNSClient
    _: KW_ONLY
    topic_arn: str
    stage: str
    runbook_url: str

    def tell(self, run_id: str) -> tuple[TrainingRun, dict[str, Any]]:
        """Publish how a run ended; the run, and what was published."""
        run = self.pipeline.describe(run_id)
        body = message(run, stage=self.stage, runbook_url=self.runbook_url)
        self.sns.publish(
            TopicArn=self.topic_arn,
            Subject=f"Treeline {self.stage}: {body['event']}"[:_SUBJECT_LIMIT],
            Message=json.dumps(body),
            MessageAttributes={"event": {"DataType": "String", "StringValue": body["event"]}},
        )
        return run, body
