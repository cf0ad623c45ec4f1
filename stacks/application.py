"""The application: which stacks there are, and how they hang together."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from stacks.alerting import AlertingStack
from stacks.config import stage as stage_config
from stacks.config.stage import StageConfig
from stacks.constructs.function_asset import ROOT, AssetPlatform
from stacks.detection import DetectionStack
from stacks.findings import stage as findings
from stacks.ingestion import IngestionStack
from stacks.learning import LearningStack
from stacks.observability import ObservabilityStack
from stacks.state import StateStack
from treeline.core.errors import SettingsError


def feature_flags(path: Path = ROOT / "cdk.json") -> dict[str, Any]:
    """The context of cdk.json, which only the CDK's command reads by itself."""
    flags: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["context"]
    return flags


def create_app(context: Mapping[str, Any] | None = None, *, outdir: Path | None = None) -> cdk.App:
    """The app of the stage that the context names.

    Context, here or by `cdk -c` or CDK_CONTEXT_JSON: `stage` (default dev), `asset_platform` (lambda or
    host), `config_overrides` (a mapping, or JSON of one, merged over the stage's file) and `nag` (true: fail on
    what cdk-nag finds and stacks/findings/stage.py does not explain; all: also on what it does).

    Raises:
        SettingsError: No such stage, or a setting that cannot be.
    """
    app = cdk.App(
        context={**feature_flags(), **(context or {})},
        outdir=str(outdir) if outdir else None,
        analytics_reporting=False,
        tree_metadata=False,
    )
    config = _stage_config(app)
    build(app, config, AssetPlatform.named(app.node.try_get_context("asset_platform") or "lambda"))
    nag = str(app.node.try_get_context("nag") or "false").lower()
    if nag not in ("true", "all", "false"):
        raise SettingsError(f"nag must be true, all or false, got {nag!r}")
    if nag != "all":
        findings.acknowledge(app, config)
    if nag != "false":
        findings.check(app)
    return app


def build(app: cdk.App, config: StageConfig, platform: AssetPlatform) -> None:
    """Add the stacks of one stage; each refers only to those before it."""
    state = StateStack(app, config=config, platform=platform)
    alerting = AlertingStack(app, state=state)
    _profile(app, state, alerting)
    for profile in config.further_profiles:
        _profile(app, StateStack(app, config=profile, platform=platform, servers=state), alerting)


def _profile(app: cdk.App, state: StateStack, alerting: AlertingStack) -> None:
    """What each profile has of its own, beside its state."""
    detection = DetectionStack(app, state=state, alerts=alerting.alerts, operations=alerting.operations)
    ingestion = IngestionStack(app, state=state, ticks=detection.ticks, operations=alerting.operations)
    LearningStack(app, state=state, operations=alerting.operations, routing_key=alerting.routing_key)
    ObservabilityStack(app, state=state, alerting=alerting, ingestion=ingestion)


def _stage_config(app: cdk.App) -> StageConfig:
    overrides = app.node.try_get_context("config_overrides") or {}
    if isinstance(overrides, str):
        try:
            overrides = json.loads(overrides)
        except ValueError as error:
            raise SettingsError(f"config_overrides must be JSON, got {overrides!r}") from error
    if not isinstance(overrides, Mapping):
        raise SettingsError(f"config_overrides must be a mapping, got {overrides!r}")
    return stage_config.load(app.node.try_get_context("stage") or "dev", overrides)
