"""Tells the operations topic how training runs ended."""

import json
from typing import Any

from treeline.app.learn.training_runs import TrainingPipeline, TrainingRun, message
from treeline.aws.client_types import SNSClient

_SUBJECT_LIMIT = 100  # characters, SNS


class EndedRuns:
    """Looks a run up and publishes what became of it.

    Args:
        pipeline: Where runs are described.
        sns: The client.
        topic_arn: The operations topic.
        stage: The deployment's stage.
        runbook_url: What to read when a run failed.
    """

    def __init__(
        self, pipeline: TrainingPipeline, sns: SNSClient, *, topic_arn: str, stage: str, runbook_url: str
    ) -> None:
        self._pipeline = pipeline
        self._sns = sns
        self._topic_arn = topic_arn
        self._stage = stage
        self._runbook_url = runbook_url

    def tell(self, run_id: str) -> tuple[TrainingRun, dict[str, Any]]:
        """Publish how a run ended; the run, and what was published."""
        run = self._pipeline.describe(run_id)
        body = message(run, stage=self._stage, runbook_url=self._runbook_url)
        self._sns.publish(
            TopicArn=self._topic_arn,
            Subject=f"Treeline {self._stage}: {body['event']}"[:_SUBJECT_LIMIT],
            Message=json.dumps(body),
            MessageAttributes={"event": {"DataType": "String", "StringValue": body["event"]}},
        )
        return run, body
