"""One step of a promotion; the state machine says which."""

import os
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from treeline.app.promote.protocol import Step
from treeline.app.promote.service import PromotionService
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.registry import ModelRegistry
from treeline.aws.observability import Telemetry
from treeline.aws.promote.hosting import HostingSettings, SageMakerHosting
from treeline.aws.promote.promotions import CandidateModels, PromotionTable, RequiredArtifacts
from treeline.core.model.canary import HoldPlan
from treeline.settings.promotion import ChangeSettings, ModelTablesSettings, PromotionSettings
from treeline.wiring.model_tables import ModelTables, announcer


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    service: PromotionService
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = PromotionSettings.from_env(os.environ)
    tables_settings = ModelTablesSettings.from_env(os.environ)
    telemetry = Telemetry("promotion", settings.stage)
    dynamodb, s3, sagemaker = boto3.client("dynamodb"), boto3.client("s3"), boto3.client("sagemaker")
    tables = ModelTables(dynamodb, s3, tables_settings)
    now = lambda: time.time_ns() // 1_000_000  # noqa: E731 - the one clock, passed on
    service = PromotionService(
        registry=CandidateModels(
            dynamodb, ModelRegistry(sagemaker, settings.model_group), table=tables_settings.controls_table
        ),
        artifacts=RequiredArtifacts(ModelArtifacts(s3, tables_settings.models_bucket)),
        hosting=SageMakerHosting(
            sagemaker,
            boto3.client("application-autoscaling"),
            HostingSettings(
                endpoint_name=settings.endpoint_name,
                role_arn=settings.execution_role_arn,
                instance_type=settings.instance_type,
                instances=settings.instances,
                max_instances=settings.max_instances,
                invocations_per_instance=settings.invocations_per_instance,
                capture_url=settings.capture_url,
                capture_percent=settings.capture_percent,
            ),
        ),
        models=tables.models,
        evidence=tables.evidence(),
        store=PromotionTable(dynamodb, boto3.client("stepfunctions"), table=tables_settings.controls_table),
        announcer=announcer(
            ChangeSettings.from_env(os.environ),
            sns=boto3.client("sns"),
            secrets=boto3.client("secretsmanager"),
            stage=settings.stage,
            clock_ms=now,
            telemetry=telemetry,
        ),
        limits=settings.limits,
        plan=HoldPlan(hold_ms=settings.hold_s * 1000, slice_ms=settings.slice_s * 1000),
        share=settings.share,
        max_wait_ms=settings.max_wait_s * 1000,
        clock_ms=now,
    )
    return _App(service=service, telemetry=telemetry)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """`{"step", "execution"}`, `request` to prepare and `state` to roll back in, `{"next", ...}` out."""
    app = _app()
    with app.telemetry.invocation(context):
        answer = app.service.run(event).to_json()
        app.telemetry.logger.info(
            "promotion step",
            step=event["step"],
            execution=event["execution"],
            **{f"promotion_{key}": value for key, value in answer.items()},
        )
        if event["step"] == Step.CUT_OVER:
            app.telemetry.count("ModelsPromoted")
        if event["step"] == Step.FINISH_ROLL_BACK:
            app.telemetry.count("PromotionsRolledBack")
        return answer
