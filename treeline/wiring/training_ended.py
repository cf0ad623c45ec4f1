"""training_ended: the pipeline's runs, and the operations topic that announces their end."""

import os
from functools import cache

import boto3

from treeline.aws.learn.ended_runs import EndedRuns
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.observability import EmfTelemetry
from treeline.settings.learning import TrainingEndedSettings


@cache
def wired() -> tuple[EndedRuns, EmfTelemetry]:
    """What announces ended runs, by the environment's settings."""
    settings = TrainingEndedSettings.from_env(os.environ)
    runs = EndedRuns(
        SageMakerTrainingPipeline(boto3.client("sagemaker"), ""),
        boto3.client("sns"),
        topic_arn=settings.operations_topic_arn,
        stage=settings.stage,
        runbook_url=settings.runbook_url,
    )
    return runs, EmfTelemetry("training_ended", settings.stage)
