"""A model package was approved: start its promotion, once."""

from typing import Any

from treeline.app.metrics import OwnMetric
from treeline.app.promote.approval import promote_approved
from treeline.wiring.approval import wired


def handler(event: dict[str, Any], context: object) -> None:
    """EventBridge event of the Model Registry in."""
    promotions, telemetry = wired()
    with telemetry.invocation(context):
        approved = promote_approved(event, promotions.workflow, promotions.pace)
        if approved is None:
            telemetry.logger.info("no approval", detail=event.get("detail"))
            return
        telemetry.add(OwnMetric.PromotionsStarted, 1 if approved.execution else 0)
        telemetry.logger.info(
            "promotion started" if approved.execution else "promotion was started before",
            execution_name=approved.name,
            execution=approved.execution,
        )
