"""Starts a training run on a schedule, unless one is under way."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from treeline.app.learn.training_runs import start_training
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.observability import Telemetry
from treeline.settings.learning import StartTrainingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    pipeline: SageMakerTrainingPipeline
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = StartTrainingSettings.from_env(os.environ)
    return _App(
        pipeline=SageMakerTrainingPipeline(boto3.client("sagemaker"), settings.pipeline_name),
        telemetry=Telemetry("start_training", settings.stage),
    )


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """One run for one event of the schedule, however often it is delivered."""
    app = _app()
    with app.telemetry.invocation(context):
        started = start_training(app.pipeline, reason="schedule", window_end_ms=None, request_id=str(event["id"]))
        app.telemetry.logger.info("training asked for", run=started.run_id, is_new=started.is_new)
        return {"run": started.run_id, "is_new": started.is_new}
