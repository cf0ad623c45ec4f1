"""The pipeline's gate: checks a candidate's artifacts with the code that will use them."""

from collections.abc import Mapping
from typing import Any

from treeline.app.learn.admission import TrainedModel
from treeline.app.metrics import OwnMetric
from treeline.wiring.admit import wired


def handler(event: Mapping[str, str], context: object) -> dict[str, Any]:
    """The step's outputs: admitted, reasons, fingerprint."""
    judge, telemetry = wired()
    with telemetry.invocation(context):
        admission = judge(TrainedModel(**event))
        telemetry.add(OwnMetric.CandidatesAdmitted, int(admission.admitted))
        telemetry.logger.info(
            "candidate judged",
            model_version=event["model_version"],
            admitted=admission.admitted,
            reasons=admission.reasons,
        )
        return admission.to_step_output()
