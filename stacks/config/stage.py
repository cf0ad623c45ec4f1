"""What differs between stages: `config/<stage>.yaml` as frozen dataclasses, checked before use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stacks.config.fields import bounded, one_of, read
from stacks.config.learning import ANALYZER_ACCOUNTS, BUILT_IN_ACCOUNTS, LearningConfig
from stacks.config.promotion import DriftConfig, PromotionConfig
from stacks.config.security import EncryptionConfig, NetworkConfig
from stacks.config.security import check as check_security
from treeline.core.errors import SettingsError
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.settings.policy import policy_from_values

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "config"

# What CloudWatch Logs accepts for a log group (API PutRetentionPolicy), up to two years.
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)
# SQS refuses more, and a mapping asks for a visibility of 6 x the function's timeout.
MAX_VISIBILITY_S = 43_200
VISIBILITY_FACTOR = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """The Kinesis stream of observations, and how ingest reads it."""

    shards: int = bounded(1, 1, 500)  # 1 MB/s or 1,000 records/s each
    retention_h: int = bounded(48, 24, 8760)
    batch_size: int = bounded(500, 1, 10_000)
    batching_window_s: int = bounded(0, 0, 300)
    retry_attempts: int = bounded(10, 0, 10_000)  # of one batch, after bisecting, before it is set aside
    max_record_age_s: int = bounded(21_600, 60, 604_800)  # older records are set aside unread
    parallelization_factor: int = bounded(1, 1, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsConfig:
    """Which observations are accepted, and how long they stay in the table."""

    max_future_s: int | None = bounded(300, 0, 604_800)  # null: any, for replays
    max_age_s: int | None = bounded(172_800, 60, 31_536_000)  # null: any, for replays
    observation_ttl_s: int = bounded(172_800, 3600, 31_536_000)  # counted from receipt
    quarantine_days: int = bounded(90, 1, 3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityConfig:
    """How a table's reads and writes are paid."""

    capacity: str = one_of("on-demand", ("on-demand", "provisioned"))  # steady loads cost less than half provisioned
    # Provisioned, of the table and of each index, for reads and for writes; it grows with the load, within minutes.
    min_units: int = bounded(5, 1, 40_000)
    max_units: int = bounded(4000, 1, 40_000)
    utilization_percent: int = bounded(70, 20, 90)


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesConfig:
    """The tables whose load is steady enough to choose; all others are on demand."""

    observations: CapacityConfig = field(default_factory=CapacityConfig)
    detector_state: CapacityConfig = field(default_factory=CapacityConfig)
    scores: CapacityConfig = field(default_factory=CapacityConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicksConfig:
    """The queue of work for detect: one message is one group to look at."""

    batch_size: int = bounded(10, 1, 10)
    batching_window_s: int = bounded(1, 0, 300)  # merges ticks of one group into one invocation
    max_concurrency: int = bounded(10, 2, 1000)  # bounds detect and so the load on the endpoint
    max_receive_count: int = bounded(5, 1, 1000)  # then the tick waits in ticks-dead for reprocess
    heartbeat: bool = True  # a tick per group now and after 30 s, every minute


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionConfig:
    """How detect decides; see treeline.settings.pipeline.DetectSettings."""

    endpoint_name: str = ""  # empty: treeline-<stage>; the endpoint belongs to the promotion workflow
    policy: Mapping[str, Any] = field(default_factory=dict)  # overrides of PolicySettings (core/detection/policy)
    late_window_s: int = bounded(600, 0, 86_400)
    watermark_wait_s: float = bounded(45.0, 0.0, 3600.0)
    score_ttl_s: int = bounded(1_209_600, 3600, 31_536_000)
    silent_after_s: int = bounded(300, 1, 86_400)
    endpoint_retry_s: int = bounded(20, 0, 3600)
    redrive_max_delay_s: int = bounded(30, 0, 900)
    runbook_url: str = "https://treeline.invalid/runbooks"
    dashboard_url: str = "https://treeline.invalid/dashboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionConfig:
    """Size of one Lambda function."""

    timeout_s: int = bounded(30, 1, 900)
    memory_mb: int = bounded(256, 128, 10_240)
    reserved_concurrency: int | None = bounded(None, 1, 1000)  # null: none (a new account has only 10 to give)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsConfig:
    """Sizes by function."""

    ingest: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=60, memory_mb=512))
    dispatch: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=20))
    # memory buys CPU: numpy imports in half the time it needs at 512 MB
    detect: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=60, memory_mb=1024))
    # less than the minute between two runs
    reprocess: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=50))
    notify_pagerduty: FunctionConfig = field(default_factory=FunctionConfig)
    admit: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=60, memory_mb=1024))
    training_ended: FunctionConfig = field(default_factory=FunctionConfig)
    start_training: FunctionConfig = field(default_factory=FunctionConfig)
    approval: FunctionConfig = field(default_factory=FunctionConfig)
    # both read a day of score blocks at most, a slice or an hour of them usually
    promotion: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=120, memory_mb=1024))
    rollup: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=300, memory_mb=1024))
    drift: FunctionConfig = field(default_factory=lambda: FunctionConfig(timeout_s=120, memory_mb=512))


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDutyConfig:
    """Where pages go besides the topic's own subscribers."""

    enabled: bool = False
    events_url: str = "https://events.pagerduty.com/v2/enqueue"
    retry_base_s: int = bounded(5, 1, 900)
    max_receive_count: int = bounded(20, 1, 1000)  # tries, with growing pauses, before pages-dead


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsConfig:
    """Addresses to subscribe; each confirms by the link AWS mails to it."""

    alert_emails: tuple[str, ...] = ()
    operations_emails: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What a deletion may take with it."""

    retain: bool = True
    termination_protection: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsConfig:
    """Log groups of the functions."""

    retention_days: int = one_of(30, LOG_RETENTION_DAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """One deployment of Treeline."""

    stage: str
    region: str = "us-east-1"
    group_size: int = bounded(50, 1, 50)  # servers a tick scores together: one endpoint call
    metrics: tuple[Metric, ...] = DEFAULT_METRICS
    paging: str = one_of("people", ("people", "shadow"))  # shadow: incidents are stored, nobody is told
    stream: StreamConfig = field(default_factory=StreamConfig)
    records: RecordsConfig = field(default_factory=RecordsConfig)
    tables: TablesConfig = field(default_factory=TablesConfig)
    ticks: TicksConfig = field(default_factory=TicksConfig)
    detection: DetectionConfig = field(default_factory=DetectionConfig)
    functions: FunctionsConfig = field(default_factory=FunctionsConfig)
    pagerduty: PagerDutyConfig = field(default_factory=PagerDutyConfig)
    notifications: NotificationsConfig = field(default_factory=NotificationsConfig)
    data: DataConfig = field(default_factory=DataConfig)
    logs: LogsConfig = field(default_factory=LogsConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    promotion: PromotionConfig = field(default_factory=PromotionConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    encryption: EncryptionConfig = field(default_factory=EncryptionConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    @property
    def endpoint_name(self) -> str:
        """Name of the SageMaker endpoint that detect asks; no stack owns it."""
        return self.detection.endpoint_name or f"treeline-{self.stage}"

    @property
    def pipeline_name(self) -> str:
        """Name of the training pipeline and of the registry's group."""
        return f"treeline-{self.stage}-{self.learning.profile}"

    def visibility_s(self, function: FunctionConfig, batching_window_s: int = 0) -> int:
        """Visibility timeout of a queue whose mapping invokes `function`, seconds."""
        return VISIBILITY_FACTOR * function.timeout_s + batching_window_s


def load(stage: str, overrides: Mapping[str, Any] | None = None, *, folder: Path = CONFIG_FOLDER) -> StageConfig:
    """Read `<folder>/<stage>.yaml`, merge `overrides` over it (see `merged`) and check it.

    Raises:
        SettingsError: No such stage, no YAML mapping, or a value that cannot be; names file and key.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", stage):
        raise SettingsError(f"a stage is named by 1-20 of a-z, 0-9 and -, starting with a letter, got {stage!r}")
    path = folder / f"{stage}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise SettingsError(f"no config/{path.name}; stages with a file: {known}")
    source = f"config/{path.name}"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: not YAML: {str(error).splitlines()[-1].strip()}") from error
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: must be a mapping of settings, got {type(raw).__name__}")
    if overrides:
        raw, source = merged(raw, overrides), f"{source} with overrides"
    if "stage" in raw:
        raise SettingsError(f"{source}: stage: the file's name says it, remove the key")
    config = read(StageConfig, {**raw, "stage": stage}, source)
    _check_together(config, source)
    return config


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`overrides` laid over `base`: mappings are merged key by key, everything else is replaced."""
    result = dict(base)
    for key, value in overrides.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _check_together(config: StageConfig, source: str) -> None:
    """What no field can say alone."""

    def refuse(key: str, why: str) -> None:
        raise SettingsError(f"{source}: {key}: {why}")

    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", config.region):
        refuse("region", f"must be an AWS region such as us-east-1, got {config.region!r}")
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", config.endpoint_name):
        refuse("detection.endpoint_name", f"must be 1-63 letters, digits and -, got {config.endpoint_name!r}")
    names = [m.name for m in config.metrics]
    if not names or len(set(names)) != len(names):
        refuse("metrics", f"must be a list with distinct names, got {names}")
    for metric in config.metrics:
        if not metric.minimum < metric.maximum:
            refuse(f"metrics.{metric.name}", f"minimum {metric.minimum} must be below maximum {metric.maximum}")
    if config.stream.max_record_age_s > config.stream.retention_h * 3600:
        refuse(
            "stream.max_record_age_s",
            "must not be longer than stream.retention_h: set aside means still readable",
        )
    for table in ("observations", "detector_state", "scores"):
        capacity: CapacityConfig = getattr(config.tables, table)
        if capacity.min_units > capacity.max_units:
            refuse(f"tables.{table}.min_units", "must not be above max_units")
    policy_from_values(config.detection.policy, source=f"{source}: detection.policy")
    for name, window_s in (("detect", config.ticks.batching_window_s), ("notify_pagerduty", 0)):
        visibility_s = config.visibility_s(getattr(config.functions, name), window_s)
        if visibility_s > MAX_VISIBILITY_S:
            refuse(f"functions.{name}.timeout_s", f"its queue would need {visibility_s} s of visibility")
    if config.functions.reprocess.timeout_s >= 60:
        refuse("functions.reprocess.timeout_s", "must be below 60: the next run starts a minute later")
    check_security(config.encryption, config.network, config.region, refuse)
    learning = config.learning
    if not re.fullmatch(r"[a-z0-9](-*[a-z0-9]){0,31}", learning.profile):
        refuse("learning.profile", f"must be 1-32 of a-z, 0-9 and inner -, got {learning.profile!r}")
    if learning.training.spot and learning.training.max_runtime_s > learning.training.spot_wait_s:
        refuse("learning.training.spot_wait_s", "counts the run too: must not be below max_runtime_s")
    baseline = learning.model_monitor_baseline
    if baseline and not (baseline.startswith("s3://") and config.region in ANALYZER_ACCOUNTS):
        refuse("learning.model_monitor_baseline", "must be an s3:// address, in a region that has the analyzer")
    if learning.algorithm == "built-in" and config.region not in BUILT_IN_ACCOUNTS:
        refuse("learning.algorithm", f"no built-in Random Cut Forest is known for {config.region}; use container")
    if not config.pagerduty.events_url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        refuse("pagerduty.events_url", f"must be https (or loopback), got {config.pagerduty.events_url!r}")
    for key in ("alert_emails", "operations_emails"):
        for address in getattr(config.notifications, key):
            if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
                refuse(f"notifications.{key}", f"not an address: {address!r}")
