"""What the functions from the stream to the page are told, and the keys of a stage's file that it comes from.

A key is declared once. A section that a function hears is a base of that function's settings here, and of the stage
file's section in stacks/config, which adds what only the stacks use.
"""

from dataclasses import dataclass

from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.setting import Settings, WrongSettingError, setting
from treeline.core.times import DEFAULT_ZONE, is_zone
from treeline.settings.environment import EnvSettings


@dataclass(frozen=True, kw_only=True)
class MetricSet(Settings):
    """What is measured."""

    metrics: tuple[Metric, ...] = setting(
        DEFAULT_METRICS, meaning="The metric set: what records may carry and models are trained on."
    )

    def check(self) -> None:
        """Every metric has a name of its own."""
        super().check()
        names = [metric.name for metric in self.metrics]
        if not names or len(set(names)) != len(names):
            raise WrongSettingError("metrics", f"must be a list with distinct names, got {names}")

    @property
    def metric_names(self) -> tuple[str, ...]:
        """In the order of a model's input."""
        return tuple(metric.name for metric in self.metrics)


@dataclass(frozen=True, kw_only=True)
class Grouping(Settings):
    """How servers are put together."""

    group_size: int = setting(50, low=1, high=50, meaning="Servers that a tick scores together: one endpoint call.")


@dataclass(frozen=True, kw_only=True)
class RecordLimits(Settings):
    """Which observations are accepted, and how long they stay in the table."""

    max_future_s: int | None = setting(
        300, low=0, high=604_800, meaning="How far ahead of our clock an observation may be; null: any, for replays."
    )
    max_age_s: int | None = setting(
        172_800, low=60, high=31_536_000, meaning="How old an observation may be; null: any, for replays."
    )
    observation_ttl_s: int = setting(
        172_800, low=3600, high=31_536_000, meaning="How long the table keeps an observation, counted from receipt."
    )


@dataclass(frozen=True, kw_only=True)
class Silence(Settings):
    """When a server counts as silent."""

    silent_after_s: int = setting(
        300, low=1, high=86_400, meaning="A server from which nothing came for so long counts as silent."
    )


@dataclass(frozen=True, kw_only=True)
class Expecting(Settings):
    """By what a metric's expected value is made; training asks, and its package tells detect."""

    expectation: str = setting(
        "chosen",
        choices=("chosen", "rolling"),
        meaning="chosen: for each metric of each server the trailing day or the time of day, whichever predicted its "
        "own past best; rolling: for all of them the plain rolling z-score. Without effect until the next training.",
    )
    rolling_window_s: int = setting(
        3600,
        low=60,
        high=604_800,
        meaning="rolling: whose mean and standard deviation are expected, the last so many seconds of the same metric "
        "of the same server; at least twelve steps.",
    )

    @property
    def trained_window_s(self) -> int:
        """The rolling window to train with; 0: none."""
        return self.rolling_window_s if self.expectation == "rolling" else 0


@dataclass(frozen=True, kw_only=True)
class Detection(Silence):
    """How detect decides."""

    policy: PolicySettings = setting(PolicySettings, meaning="When exceedances become an incident.")
    timezone: str = setting(
        DEFAULT_ZONE,
        meaning="IANA time zone by whose clocks servers keep their habits; a server's label `timezone` goes before it.",
    )
    late_window_s: int = setting(
        600,
        low=0,
        high=86_400,
        meaning="How far behind the newest observation of its group a late one may be and is still scored.",
    )
    watermark_wait_s: float = setting(
        45.0,
        low=0.0,
        high=3600.0,
        meaning="How long the group waits for servers that have not sent their observation of a moment yet.",
    )
    score_ttl_s: int = setting(
        1_209_600, low=3600, high=31_536_000, meaning="How long scores and what was decided by them are kept."
    )
    endpoint_retry_s: int = setting(
        20, low=0, high=3600, meaning="When a tick comes back that the endpoint could not serve, about."
    )
    runbook_url: str = setting("https://treeline.invalid/runbooks", meaning="Folder of the runbooks, for pages.")
    dashboard_url: str = setting("https://treeline.invalid/dashboard", meaning="The dashboard, for pages.")

    def check(self) -> None:
        """There is such a time zone."""
        super().check()
        if not is_zone(self.timezone):
            raise WrongSettingError(
                "timezone", f"must be an IANA time zone such as Europe/Berlin, got {self.timezone!r}"
            )


@dataclass(frozen=True, kw_only=True)
class Telling(Settings):
    """Whether people hear of incidents."""

    paging: str = setting(
        "people", choices=("people", "shadow"), meaning="shadow: incidents are found and stored, and nobody is told."
    )


@dataclass(frozen=True, kw_only=True)
class Redrive(Settings):
    """How dead ticks come back."""

    redrive_max_delay_s: int = setting(
        30, low=0, high=900, meaning="Redriven ticks are spread over this time, oldest first (SQS DelaySeconds)."
    )


@dataclass(frozen=True, kw_only=True)
class PagerDutyEvents(Settings):
    """How pages are sent."""

    events_url: str = setting("https://events.pagerduty.com/v2/enqueue", meaning="Events API v2: https, or loopback.")
    retry_base_s: int = setting(5, low=1, high=900, meaning="Pause before a page is tried again; it doubles.")

    def check(self) -> None:
        """A page holds names of servers: nothing in clear text leaves the machine."""
        super().check()
        if not self.events_url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise WrongSettingError("events_url", f"must be https (or loopback), got {self.events_url!r}")


@dataclass(frozen=True, kw_only=True)
class Scoring(Settings):
    """Where a model's forest scores."""

    scorer: str = setting(
        "endpoint",
        choices=("endpoint", "embedded"),
        meaning="endpoint: the forest scores on a SageMaker endpoint; embedded: in the function detect itself, without "
        "any endpoint; for models of our container.",
    )

    @property
    def is_embedded(self) -> bool:
        """Whether no endpoint is asked."""
        return self.scorer == "embedded"


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(EnvSettings, Scoring):
    """What a function is told of where the forest scores."""

    endpoint_name: str = ""  # empty where the scorer is embedded

    def check(self) -> None:
        """The endpoint to ask has a name."""
        super().check()
        if not self.is_embedded and not self.endpoint_name:
            raise WrongSettingError("endpoint_name", "must be set where scorer is endpoint")


@dataclass(frozen=True, kw_only=True)
class IngestSettings(EnvSettings, MetricSet, RecordLimits, Grouping):
    """From the Kinesis stream to the append-only table."""

    stage: str
    observations_table: str
    servers_table: str
    quarantine_bucket: str
    tick_queue_url: str


@dataclass(frozen=True, kw_only=True)
class DispatchSettings(EnvSettings, Grouping):
    """The heartbeat."""

    stage: str
    servers_table: str
    tick_queue_url: str
    second_tick_delay_s: int = 30


@dataclass(frozen=True, kw_only=True)
class DetectSettings(ScoringSettings, MetricSet, Detection, Grouping, Telling):
    """From observations to alerts."""

    stage: str
    observations_table: str
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
    alerts_topic_arn: str
    tick_queue_url: str


@dataclass(frozen=True, kw_only=True)
class ReprocessSettings(ScoringSettings, Redrive):
    """From the dead-letter queue of ticks back to work."""

    stage: str
    tick_queue_url: str
    dead_letter_queue_url: str
    max_messages: int = 500


@dataclass(frozen=True, kw_only=True)
class NotifyPagerDutySettings(EnvSettings, PagerDutyEvents):
    """From an SNS alert to PagerDuty."""

    stage: str
    page_queue_url: str
    pages_table: str
    routing_key_secret_arn: str
    timeout_s: float = 10.0
