"""Every day: has the fleet left the model?"""

import os
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from treeline.app.learn.drift import DriftReport, DriftService
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.learn.rollups import PipelineTraining, RetrainingTable
from treeline.aws.observability import Telemetry
from treeline.aws.promote.promotions import PromotionTable
from treeline.core.model.drift import DriftOutcome
from treeline.settings.promotion import ChangeSettings, DriftSettings, ModelTablesSettings
from treeline.wiring.model_tables import ModelTables, announcer, now_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _App:
    service: DriftService
    telemetry: Telemetry


@cache
def _app() -> _App:
    settings, tables_settings = DriftSettings.from_env(os.environ), ModelTablesSettings.from_env(os.environ)
    telemetry = Telemetry("drift", settings.stage)
    dynamodb = boto3.client("dynamodb")
    tables = ModelTables(dynamodb, boto3.client("s3"), tables_settings)
    controls = tables_settings.controls_table
    service = DriftService(
        rollups=tables.rollups,
        package=tables.models.active,
        maintenance=tables.history().maintenance,
        retrainings=RetrainingTable(dynamodb, table=controls),
        training=PipelineTraining(SageMakerTrainingPipeline(boto3.client("sagemaker"), settings.pipeline_name)),
        promotion=PromotionTable(dynamodb, None, table=controls).load,
        announcer=announcer(
            ChangeSettings.from_env(os.environ),
            sns=boto3.client("sns"),
            secrets=boto3.client("secretsmanager"),
            stage=settings.stage,
            clock_ms=lambda: time.time_ns() // 1_000_000,
            telemetry=telemetry,
        ),
        rules=settings.rules,
    )
    return _App(service=service, telemetry=telemetry)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A schedule's event, or `{"now": "<ISO time>"}`: the days before that time."""
    app = _app()
    with app.telemetry.invocation(context):
        report = app.service.run(now_of(event))
        if report is None:
            app.telemetry.logger.info("no active model, no drift")
            return {"outcome": "no_model"}
        _report(app.telemetry, report)
        return {
            "outcome": report.evaluation.outcome.value,
            "shift": report.evaluation.shift,
            "measure": report.evaluation.measure,
            "breaches": report.evaluation.breaches,
            "hours": report.hours,
            "run_id": report.run_id,
            "features": report.features,
            "levels": report.levels,
        }


def _report(telemetry: Telemetry, report: DriftReport) -> None:
    evaluation = report.evaluation
    today = {name: values[-1] for name, values in evaluation.daily.items()}
    telemetry.gauge("ScoreDrift", abs(today["scores"]))
    telemetry.gauge("LevelDrift", abs(today["levels"]))
    telemetry.gauge("LargestFeatureDrift", max(report.features.values(), default=0.0))
    telemetry.count("DriftBreaches", evaluation.breaches)
    telemetry.count("RetrainingsStarted", 1 if report.run_id else 0)
    telemetry.count("RetrainingsBlocked", 1 if evaluation.outcome is DriftOutcome.BLOCKED_BY_MAINTENANCE else 0)
    telemetry.logger.info(
        "drift evaluated",
        model_version=report.model_version,
        outcome=evaluation.outcome.value,
        shift_sd=evaluation.shift,
        measure=evaluation.measure,
        breaches=evaluation.breaches,
        feature_psi=report.features,
        levels_sd=report.levels,
        hours=report.hours,
        run_id=report.run_id,
    )
