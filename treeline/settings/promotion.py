"""What the functions of promotion, roll-up and drift are told, and the keys of a stage's file that it comes from."""

from dataclasses import dataclass

from treeline.core.model.canary import CanaryLimits
from treeline.core.model.drift_rules import DriftRules
from treeline.core.setting import Settings, setting
from treeline.settings.environment import EnvSettings
from treeline.settings.pipeline import Grouping, MetricSet, ScoringSettings


@dataclass(frozen=True, kw_only=True)
class PromotionRules(Settings):
    """How a model gets to decide; the promotion workflow owns the endpoint."""

    instance_type: str = setting(
        "ml.m5.large", meaning="Of the endpoint; not ml.t2: a burstable instance cannot be scaled."
    )
    instances: int = setting(
        1, low=1, high=100, meaning="To begin with; two for an endpoint that outlives an availability zone."
    )
    max_instances: int = setting(4, low=1, high=100, meaning="To scale out to.")
    invocations_per_instance: float = setting(600.0, low=1.0, high=1e6, meaning="A minute, held by autoscaling.")
    capture_percent: int = setting(
        10, low=0, high=100, meaning="Share of requests and answers that is kept in the models bucket; 0: none."
    )
    share: float = setting(
        0.1, low=0.001, high=1.0, meaning="Servers that the candidate decides during its canary, by stable hash."
    )
    hold_s: int = setting(86_400, low=0, high=2_592_000, meaning="Length of a canary in event time; 0: no canary.")
    slice_s: int = setting(3600, low=60, high=86_400, meaning="Event time between two judgements of a canary.")
    max_wait_s: int = setting(
        172_800,
        low=60,
        high=2_592_000,
        meaning="Longest canary by the clock on the wall: a fleet that fell silent proves nothing.",
    )
    limits: CanaryLimits = setting(CanaryLimits, meaning="What a candidate may do at most.")


@dataclass(frozen=True, kw_only=True)
class WorkflowPace(Settings):
    """How often the promotion workflow looks."""

    poll_s: int = setting(300, low=1, high=3600, meaning="Between two looks at a canary.")
    endpoint_poll_s: int = setting(30, low=1, high=3600, meaning="Between two looks at an endpoint that changes.")
    settle_s: int = setting(
        300,
        low=0,
        high=3600,
        meaning="Between the cut-over and the end of the old variant: ticks under way finish on it.",
    )


@dataclass(frozen=True, kw_only=True)
class Drift(Settings):
    """When a model is replaced."""

    rules: DriftRules = setting(DriftRules, meaning="When the fleet counts as having left its model.")


@dataclass(frozen=True, kw_only=True)
class ApprovalSettings(EnvSettings, WorkflowPace):
    """From an approved model package to an execution of the promotion workflow."""

    stage: str
    state_machine_arn: str


@dataclass(frozen=True, kw_only=True)
class ModelTablesSettings(EnvSettings, MetricSet, Grouping):
    """Where models and what they decided are."""

    stage: str
    servers_table: str
    state_table: str
    scores_table: str
    incidents_table: str
    controls_table: str
    mutes_table: str | None = (
        None  # mutes and maintenance windows, where they are in another table than `controls_table`
    )
    rollups_table: str
    models_bucket: str


@dataclass(frozen=True, kw_only=True)
class ChangeSettings(EnvSettings):
    """Whom to tell of changes to the models."""

    changes_topic_arn: str
    routing_key_secret_arn: str = ""  # empty: PagerDuty is not used
    changes_url: str = "https://events.pagerduty.com/v2/change/enqueue"


@dataclass(frozen=True, kw_only=True)
class PromotionSettings(ScoringSettings, PromotionRules):
    """How a model is promoted."""

    stage: str
    execution_role_arn: str = ""  # of the models' containers; empty where the scorer is embedded
    model_group: str
    capture_url: str = ""


@dataclass(frozen=True, kw_only=True)
class DriftSettings(EnvSettings, Drift):
    """When a model is to be replaced, and by which pipeline."""

    stage: str
    pipeline_name: str
