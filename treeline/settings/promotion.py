"""What the functions of promotion, roll-up and drift are told."""

import json
from dataclasses import dataclass

from treeline.core.errors import SettingsError
from treeline.settings.pipeline import EnvSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettings(EnvSettings):
    """From an approved model package to an execution of the promotion workflow."""

    stage: str
    state_machine_arn: str
    poll_s: int = 300  # between two looks at a canary
    endpoint_poll_s: int = 30
    settle_s: int = 300  # between cut-over and the old variant's end: ticks under way finish on it


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTablesSettings(EnvSettings):
    """Where models and what they decided are."""

    stage: str
    metrics: str  # as DetectSettings.metrics
    servers_table: str
    state_table: str
    scores_table: str
    incidents_table: str
    controls_table: str
    rollups_table: str
    models_bucket: str
    group_size: int = 50

    def __post_init__(self) -> None:
        """Check the metric set."""
        try:
            json.loads(self.metrics)
        except ValueError as error:
            raise SettingsError(f"METRICS must be a JSON list, got {self.metrics[:80]!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSettings(EnvSettings):
    """Whom to tell of changes to the models."""

    changes_topic_arn: str
    routing_key_secret_arn: str = ""  # empty: PagerDuty is not used
    changes_url: str = "https://events.pagerduty.com/v2/change/enqueue"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionSettings(EnvSettings):
    """How a model is promoted; the limits are treeline.core.model.canary.CanaryLimits."""

    stage: str
    endpoint_name: str
    execution_role_arn: str
    model_group: str
    instance_type: str = "ml.m5.large"
    instances: int = 1
    max_instances: int = 4
    invocations_per_instance: float = 600.0
    capture_url: str = ""
    capture_percent: int = 10
    share: float = 0.1
    hold_s: int = 86_400
    slice_s: int = 3600
    max_wait_s: int = 172_800
    limits: str = "{}"  # JSON overrides of treeline.core.model.canary.CanaryLimits

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0.0 < self.share <= 1.0:
            raise SettingsError(f"SHARE must be in (0, 1], got {self.share}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings(EnvSettings):
    """When a model is to be replaced; see treeline.core.model.drift.DriftRules."""

    stage: str
    pipeline_name: str
    rules: str = "{}"  # JSON overrides of treeline.core.model.drift.DriftRules
