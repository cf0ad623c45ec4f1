"""Every hour: sum up the hours of scores that are over."""

from dataclasses import asdict
from typing import Any

from treeline.app.metrics import OwnMetric
from treeline.wiring.clients import now_of
from treeline.wiring.rollup import wired


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """A schedule's event, or `{"now": "<ISO time>"}`: the hours before that time."""
    service, telemetry = wired()
    with telemetry.invocation(context):
        outcome = service.run(now_of(event))
        telemetry.add(OwnMetric.HoursRolledUp, outcome.hours)
        telemetry.add(OwnMetric.ScoresRolledUp, outcome.scores)
        telemetry.logger.info("hours rolled up", **asdict(outcome))
        return asdict(outcome)
