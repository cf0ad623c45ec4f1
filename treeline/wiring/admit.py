"""admit: what a training run left in the models bucket, and the metrics a model must have been trained on."""

import os
from collections.abc import Callable
from functools import cache, partial

import boto3

from treeline.app.learn.admission import Admission, TrainedModel, admit
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.observability import EmfTelemetry
from treeline.settings.learning import AdmitSettings


@cache
def wired() -> tuple[Callable[[TrainedModel], Admission], EmfTelemetry]:
    """What judges a candidate, by the environment's settings."""
    settings = AdmitSettings.from_env(os.environ)
    artifacts = ModelArtifacts(boto3.client("s3"), settings.models_bucket)
    return partial(admit, artifacts=artifacts, metrics=settings.metric_names), EmfTelemetry("admit", settings.stage)
