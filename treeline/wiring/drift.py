"""drift: the hours that rollup left, and the pipeline that retrains."""

import os
from functools import cache

import boto3

from treeline.app.learn.drift import DriftService
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.learn.retrainings import RetrainingTable
from treeline.aws.observability import EmfTelemetry
from treeline.aws.promote.promotions import PromotionTable
from treeline.settings.promotion import ChangeSettings, DriftSettings, ModelTablesSettings
from treeline.wiring.announcer import announcer
from treeline.wiring.model_tables import ModelTables


@cache
def wired() -> tuple[DriftService, EmfTelemetry]:
    """What judges the days, by the environment's settings."""
    settings, tables_settings = DriftSettings.from_env(os.environ), ModelTablesSettings.from_env(os.environ)
    telemetry = EmfTelemetry("drift", settings.stage)
    dynamodb = boto3.client("dynamodb")
    tables = ModelTables(dynamodb, boto3.client("s3"), tables_settings)
    controls = tables_settings.controls_table
    service = DriftService(
        rollups=tables.rollups,
        package=tables.models.active,
        maintenance=tables.history().maintenance,
        retrainings=RetrainingTable(dynamodb, table=controls),
        pipeline=SageMakerTrainingPipeline(boto3.client("sagemaker"), settings.pipeline_name),
        promotion=PromotionTable(dynamodb, None, table=controls).load,
        announcer=announcer(ChangeSettings.from_env(os.environ), stage=settings.stage, telemetry=telemetry),
        rules=settings.rules,
        override=lambda: tables.models.override,
    )
    return service, telemetry
