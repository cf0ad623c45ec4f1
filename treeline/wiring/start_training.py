"""start_training: the deployed training pipeline, and what operators put over its settings."""

import os
from functools import cache

import boto3

from treeline.aws.detect.overrides import OverrideTable
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.observability import EmfTelemetry
from treeline.settings.learning import StartTrainingSettings


@cache
def wired() -> tuple[SageMakerTrainingPipeline, OverrideTable, EmfTelemetry]:
    """The pipeline and the overrides, by the environment's settings."""
    settings = StartTrainingSettings.from_env(os.environ)
    pipeline = SageMakerTrainingPipeline(boto3.client("sagemaker"), settings.pipeline_name)
    overrides = OverrideTable(boto3.client("dynamodb"), settings.controls_table)
    return pipeline, overrides, EmfTelemetry("start_training", settings.stage)
