"""approval: the promotion workflow, and how often it looks."""

import os
from dataclasses import dataclass
from functools import cache

import boto3

from treeline.app.promote.protocol import WaitTimes
from treeline.aws.observability import EmfTelemetry
from treeline.aws.promote.workflow import PromotionWorkflow
from treeline.settings.promotion import ApprovalSettings


@dataclass(frozen=True, slots=True)
class Promotions:
    """Where promotions are started, and at which pace they go."""

    workflow: PromotionWorkflow
    pace: WaitTimes


@cache
def wired() -> tuple[Promotions, EmfTelemetry]:
    """Where promotions are started, by the environment's settings."""
    settings = ApprovalSettings.from_env(os.environ)
    promotions = Promotions(
        PromotionWorkflow(boto3.client("stepfunctions"), settings.state_machine_arn),
        WaitTimes(poll_s=settings.poll_s, endpoint_poll_s=settings.endpoint_poll_s, settle_s=settings.settle_s),
    )
    return promotions, EmfTelemetry("approval", settings.stage)
