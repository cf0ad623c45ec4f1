"""Every hour: sum up the hours of scores that are over."""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from treeline.app.learn.rollup import RollupService
from treeline.aws.observability import Telemetry
from treeline.settings.promotion import ModelTablesSettings
from treeline.wiring.model_tables import ModelTables, now_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    service: RollupService
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings = ModelTablesSettings.from_env(os.environ)
    tables = ModelTables(boto3.client("dynamodb"), boto3.client("s3"), settings)
    service = RollupService(history=tables.history(), rollups=tables.rollups, package=tables.models.active)
    return _App(service=service, telemetry=Telemetry("rollup", settings.stage))


def handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """A schedule's event, or `{"now": "<ISO time>"}`: the hours before that time."""
    app = _app()
    with app.telemetry.invocation(context):
        outcome = app.service.run(now_of(event))
        app.telemetry.count("HoursRolledUp", outcome.hours)
        app.telemetry.count("ScoresRolledUp", outcome.scores)
        app.telemetry.logger.info("hours rolled up", hours=outcome.hours, items=outcome.items, scores=outcome.scores)
        return {"hours": outcome.hours, "items": outcome.items, "scores": outcome.scores}
