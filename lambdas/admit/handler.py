"""The pipeline's gate: checks a candidate's artifacts with the code that will use them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from treeline.app.learn.admission import TrainedModel, admit
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.observability import Telemetry
from treeline.settings.learning import AdmitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    artifacts: ModelArtifacts
    metrics: tuple[str, ...]
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = AdmitSettings.from_env(os.environ)
    return _App(
        artifacts=ModelArtifacts(boto3.client("s3"), settings.models_bucket),
        metrics=settings.metric_names,
        telemetry=Telemetry("admit", settings.stage),
    )


def handler(event: Mapping[str, str], context: object) -> dict[str, Any]:
    """The step's outputs: admitted, reasons, fingerprint."""
    app = _app()
    with app.telemetry.invocation(context):
        admission = admit(TrainedModel(**event), app.artifacts, app.metrics)
        app.telemetry.count("CandidatesAdmitted", int(admission.admitted))
        app.telemetry.logger.info(
            "candidate judged",
            model_version=event["model_version"],
            admitted=admission.admitted,
            reasons=admission.reasons,
        )
        return admission.to_step_output()
