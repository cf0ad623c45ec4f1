"""Every day: has the fleet left the model?"""

from typing import Any

from treeline.app.learn.drift import report
from treeline.wiring.clients import now_of
from treeline.wiring.drift import wired


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A schedule's event, or `{"now": "<ISO time>"}`: the days before that time."""
    service, telemetry = wired()
    with telemetry.invocation(context):
        drift = service.run(now_of(event))
        if drift is None:
            telemetry.logger.info("no active model, no drift")
            return {"outcome": "no_model"}
        report(telemetry, drift)
        return drift.to_json()
