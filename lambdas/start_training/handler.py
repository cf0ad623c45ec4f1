"""Starts a training run on a schedule, unless one is under way."""

from collections.abc import Mapping
from typing import Any

from treeline.app.learn.training_runs import start_training
from treeline.wiring.start_training import wired


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """One run for one event of the schedule, however often it is delivered."""
    pipeline, overrides, telemetry = wired()
    with telemetry.invocation(context):
        started = start_training(
            pipeline, reason="schedule", window_end_ms=None, request_id=str(event["id"]), override=overrides.current()
        )
        telemetry.logger.info("training asked for", run=started.run_id, is_new=started.is_new)
        return {"run": started.run_id, "is_new": started.is_new}
