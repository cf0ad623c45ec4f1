"""One step of a promotion; the state machine says which."""

from typing import Any

from treeline.app.metrics import OwnMetric
from treeline.app.promote.protocol import Step
from treeline.wiring.promotion import wired


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """`{"step", "execution"}`, `request` to prepare and `state` to roll back in, `{"next", ...}` out."""
    service, telemetry = wired()
    with telemetry.invocation(context):
        answer = service.run(event).to_json()
        telemetry.logger.info(
            "promotion step",
            step=event["step"],
            execution=event["execution"],
            **{f"promotion_{key}": value for key, value in answer.items()},
        )
        if event["step"] == Step.CUT_OVER:
            telemetry.add(OwnMetric.ModelsPromoted)
        if event["step"] == Step.FINISH_ROLL_BACK:
            telemetry.add(OwnMetric.PromotionsRolledBack)
        return answer
