"""promotion: the registry, the endpoint, the evidence of detect's tables, and the record of the promotion."""

import os
from functools import cache

import boto3

from treeline.app.promote.service import PromotionService
from treeline.aws.client_types import SageMakerClient
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.registry import ModelRegistry
from treeline.aws.observability import EmfTelemetry
from treeline.aws.promote.embedded import EmbeddedHosting
from treeline.aws.promote.hosting import HostingSettings, SageMakerHosting
from treeline.aws.promote.promotions import CandidateModels, PromotionTable, RequiredArtifacts
from treeline.core.model.canary import HoldPlan
from treeline.settings.promotion import ChangeSettings, ModelTablesSettings, PromotionSettings
from treeline.wiring.announcer import announcer
from treeline.wiring.clients import now_ms
from treeline.wiring.forests import embedded_forests
from treeline.wiring.model_tables import ModelTables


@cache
def wired() -> tuple[PromotionService, EmfTelemetry]:
    """What takes a promotion's steps, by the environment's settings."""
    settings = PromotionSettings.from_env(os.environ)
    tables_settings = ModelTablesSettings.from_env(os.environ)
    telemetry = EmfTelemetry("promotion", settings.stage)
    dynamodb, s3, sagemaker = boto3.client("dynamodb"), boto3.client("s3"), boto3.client("sagemaker")
    tables = ModelTables(dynamodb, s3, tables_settings)
    controls = tables_settings.controls_table
    service = PromotionService(
        registry=CandidateModels(dynamodb, ModelRegistry(sagemaker, settings.model_group), table=controls),
        artifacts=RequiredArtifacts(ModelArtifacts(s3, tables_settings.models_bucket)),
        hosting=EmbeddedHosting(embedded_forests(s3)) if settings.is_embedded else _hosting(sagemaker, settings),
        models=tables.models,
        evidence=tables.evidence(),
        store=PromotionTable(dynamodb, boto3.client("stepfunctions"), table=controls),
        announcer=announcer(ChangeSettings.from_env(os.environ), stage=settings.stage, telemetry=telemetry),
        limits=settings.limits,
        plan=HoldPlan(hold_ms=settings.hold_s * 1000, slice_ms=settings.slice_s * 1000),
        share=settings.share,
        max_wait_ms=settings.max_wait_s * 1000,
        clock_ms=now_ms,
    )
    return service, telemetry


def _hosting(sagemaker: SageMakerClient, settings: PromotionSettings) -> SageMakerHosting:
    return SageMakerHosting(
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
    )
