"""Tells the operations topic how a training run ended, and why when it failed."""

from collections.abc import Mapping
from typing import Any

from treeline.app.metrics import OwnMetric
from treeline.wiring.training_ended import wired


def handler(event: Mapping[str, Any], context: object) -> None:
    """One status change of the pipeline; SageMaker may send it more than once."""
    runs, telemetry = wired()
    with telemetry.invocation(context):
        run, told = runs.tell(event["detail"]["pipelineExecutionArn"])
        telemetry.add(OwnMetric.TrainingRunsFailed, int(run.status == "Failed"))
        telemetry.add(OwnMetric.TrainingRunsSucceeded, int(run.status == "Succeeded"))
        telemetry.logger.info("training run ended", **told)
