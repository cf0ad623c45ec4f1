"""Tells the operations topic how a training run ended, and why when it failed."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from treeline.app.learn.training_runs import message
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.observability import Telemetry
from treeline.settings.learning import TrainingEndedSettings

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

_SUBJECT_LIMIT = 100  # characters, SNS


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    settings: TrainingEndedSettings
    pipeline: SageMakerTrainingPipeline
    sns: "SNSClient"
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = TrainingEndedSettings.from_env(os.environ)
    return _App(
        settings=settings,
        pipeline=SageMakerTrainingPipeline(boto3.client("sagemaker"), ""),
        sns=boto3.client("sns"),
        telemetry=Telemetry("training_ended", settings.stage),
    )


def handler(event: Mapping[str, Any], context: object) -> None:
    """One status change of the pipeline; SageMaker may send it more than once."""
    app = _app()
    with app.telemetry.invocation(context):
        run = app.pipeline.describe(event["detail"]["pipelineExecutionArn"])
        body = message(run, stage=app.settings.stage, runbook_url=app.settings.runbook_url)
        app.telemetry.count("TrainingRunsFailed", int(run.status == "Failed"))
        app.telemetry.count("TrainingRunsSucceeded", int(run.status == "Succeeded"))
        app.telemetry.logger.info("training run ended", **body)
        app.sns.publish(
            TopicArn=app.settings.operations_topic_arn,
            Subject=f"Treeline {app.settings.stage}: {body['event']}"[:_SUBJECT_LIMIT],
            Message=json.dumps(body),
            MessageAttributes={"event": {"DataType": "String", "StringValue": body["event"]}},
        )
