"""start_training: the deployed training pipeline."""

import os
from functools import cache

import boto3

from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.observability import EmfTelemetry
from treeline.settings.learning import StartTrainingSettings


@cache
def wired() -> tuple[SageMakerTrainingPipeline, EmfTelemetry]:
    """The pipeline, by the environment's settings."""
    settings = StartTrainingSettings.from_env(os.environ)
    pipeline = SageMakerTrainingPipeline(boto3.client("sagemaker"), settings.pipeline_name)
    return pipeline, EmfTelemetry("start_training", settings.stage)
