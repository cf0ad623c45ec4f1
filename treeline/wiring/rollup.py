"""rollup: what detection left behind, and the table of hours."""

import os
from functools import cache

import boto3

from treeline.app.learn.rollup import RollupService
from treeline.aws.observability import EmfTelemetry
from treeline.settings.promotion import ModelTablesSettings
from treeline.wiring.model_tables import ModelTables


@cache
def wired() -> tuple[RollupService, EmfTelemetry]:
    """What sums up hours, by the environment's settings."""
    settings = ModelTablesSettings.from_env(os.environ)
    tables = ModelTables(boto3.client("dynamodb"), boto3.client("s3"), settings)
    service = RollupService(history=tables.history(), rollups=tables.rollups, package=tables.models.active)
    return service, EmfTelemetry("rollup", settings.stage)
