"""A model package was approved: start its promotion, once."""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from treeline.app.promote.approval import promote_approved
from treeline.app.promote.protocol import PromotionPace
from treeline.aws.observability import Telemetry
from treeline.aws.promote.workflow import PromotionWorkflow
from treeline.settings.promotion import ApprovalSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    workflow: PromotionWorkflow
    pace: PromotionPace
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = ApprovalSettings.from_env(os.environ)
    return _App(
        workflow=PromotionWorkflow(boto3.client("stepfunctions"), settings.state_machine_arn),
        pace=PromotionPace(
            poll_s=settings.poll_s, endpoint_poll_s=settings.endpoint_poll_s, settle_s=settings.settle_s
        ),
        telemetry=Telemetry("approval", settings.stage),
    )


def handler(event: dict[str, Any], context: object) -> None:
    """EventBridge event of the Model Registry in."""
    app = _app()
    with app.telemetry.invocation(context):
        approved = promote_approved(event, app.workflow, app.pace)
        if approved is None:
            app.telemetry.logger.info("no approval", detail=event.get("detail"))
            return
        app.telemetry.count("PromotionsStarted", 1 if approved.execution else 0)
        app.telemetry.logger.info(
            "promotion started" if approved.execution else "promotion was started before",
            execution_name=approved.name,
            execution=approved.execution,
        )
