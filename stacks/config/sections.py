"""The sections of `config/<stage>.yaml` that only the stacks use, or that add to a function's settings."""

import re
from dataclasses import dataclass
from typing import Any

from treeline.core.setting import Settings, WrongSettingError, setting
from treeline.settings.pipeline import Detection, Expecting, PagerDutyEvents, RecordLimits, Redrive

# What CloudWatch Logs accepts for a log group (API PutRetentionPolicy), up to two years.
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)


@dataclass(frozen=True, kw_only=True)
class StreamConfig(Settings):
    """The Kinesis stream of observations, and how ingest reads it."""

    shards: int = setting(1, low=1, high=500, meaning="1 MB/s or 1,000 records/s each.")
    retention_h: int = setting(48, low=24, high=8760, meaning="How long the stream keeps what ingest has not read.")
    batch_size: int = setting(500, low=1, high=10_000, meaning="Records that ingest gets at once, at most.")
    batching_window_s: int = setting(0, low=0, high=300, meaning="How long ingest waits for a fuller batch.")
    retry_attempts: int = setting(
        10, low=0, high=10_000, meaning="Of one batch, after bisecting, before it is set aside."
    )
    max_record_age_s: int = setting(21_600, low=60, high=604_800, meaning="Older records are set aside unread.")
    parallelization_factor: int = setting(1, low=1, high=10, meaning="Batches of one shard at the same time.")

    def check(self) -> None:
        """Set aside means still readable."""
        if self.max_record_age_s > self.retention_h * 3600:
            raise WrongSettingError(
                "max_record_age_s", "must not be longer than retention_h: set aside means still readable"
            )


@dataclass(frozen=True, kw_only=True)
class RecordsConfig(RecordLimits):
    """Which observations are accepted, and how long they stay in the table."""

    quarantine_days: int = setting(90, low=1, high=3650, meaning="How long records that were refused are kept.")


@dataclass(frozen=True, kw_only=True)
class CapacityConfig(Settings):
    """How a table's reads and writes are paid."""

    capacity: str = setting(
        "on-demand",
        choices=("on-demand", "provisioned"),
        meaning="A steady load costs less than half when provisioned; that grows with the load, within minutes.",
    )
    min_units: int = setting(
        5, low=1, high=40_000, meaning="Provisioned, of the table and of each index, for reads and for writes."
    )
    max_units: int = setting(4000, low=1, high=40_000, meaning="To grow to.")
    utilization_percent: int = setting(70, low=20, high=90, meaning="Use that growing and shrinking aim at.")

    def check(self) -> None:
        """There is room to grow."""
        if self.min_units > self.max_units:
            raise WrongSettingError("min_units", f"must not be above max_units {self.max_units}, got {self.min_units}")


@dataclass(frozen=True, kw_only=True)
class TablesConfig(Settings):
    """The tables whose load is steady enough to choose; all others are on demand."""

    observations: CapacityConfig = setting(CapacityConfig, meaning="Observations as received.")
    detector_state: CapacityConfig = setting(CapacityConfig, meaning="What detect knows of each group.")
    scores: CapacityConfig = setting(CapacityConfig, meaning="Scores and decisions.")


@dataclass(frozen=True, kw_only=True)
class TicksConfig(Settings):
    """The queue of work for detect: one message is one group to look at."""

    batch_size: int = setting(10, low=1, high=10, meaning="Ticks of one invocation.")
    batching_window_s: int = setting(1, low=0, high=300, meaning="Merges ticks of one group into one invocation.")
    max_concurrency: int = setting(10, low=2, high=1000, meaning="Bounds detect and so the load on the endpoint.")
    max_receive_count: int = setting(
        5, low=1, high=1000, meaning="Tries before a tick waits in ticks-dead for reprocess."
    )
    heartbeat: bool = setting(True, meaning="A tick per group now and after 30 s, every minute.")


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(Redrive, Expecting, Detection):
    """How detect decides."""

    endpoint_name: str = setting(
        "",
        meaning="Of the endpoint, which the promotion workflow owns; empty: treeline-STAGE. Without effect where "
        "scorer is embedded.",
    )


@dataclass(frozen=True, kw_only=True)
class FunctionConfig(Settings):
    """Size of one Lambda function."""

    timeout_s: int = setting(30, low=1, high=900, meaning="Longest invocation; a queue's visibility follows it.")
    memory_mb: int = setting(256, low=128, high=10_240, meaning="Memory, which buys CPU too.")
    reserved_concurrency: int | None = setting(
        None, low=1, high=1000, meaning="null: none (a new account has only 10 to give)."
    )


def _size(meaning: str, **size: int) -> Any:
    return setting(lambda: FunctionConfig(**size), meaning=meaning)


@dataclass(frozen=True, kw_only=True)
class FunctionsConfig(Settings):
    """Sizes by function."""

    ingest: FunctionConfig = _size("Stores observations.", timeout_s=60, memory_mb=512)
    dispatch: FunctionConfig = _size("The heartbeat.", timeout_s=20)
    detect: FunctionConfig = _size(
        "Scores and decides; numpy imports in half the time it needs at 512 MB.", timeout_s=60, memory_mb=1024
    )
    reprocess: FunctionConfig = _size("Redrives ticks; below the minute between two runs.", timeout_s=50)
    notify_pagerduty: FunctionConfig = _size("Sends pages.")
    admit: FunctionConfig = _size("Checks a candidate's artifacts.", timeout_s=60, memory_mb=1024)
    training_ended: FunctionConfig = _size("Tells how a training run ended.")
    start_training: FunctionConfig = _size("Starts training runs on a schedule.")
    approval: FunctionConfig = _size("Starts promotions.")
    promotion: FunctionConfig = _size(
        "A step of a promotion; reads a day of score blocks at most.", timeout_s=120, memory_mb=1024
    )
    rollup: FunctionConfig = _size("Sums up hours of score blocks.", timeout_s=300, memory_mb=1024)
    drift: FunctionConfig = _size("Judges days.", timeout_s=120, memory_mb=512)

    def check(self) -> None:
        """A redrive ends before the next one starts."""
        if self.reprocess.timeout_s >= 60:
            raise WrongSettingError("reprocess.timeout_s", "must be below 60: the next run starts a minute later")


@dataclass(frozen=True, kw_only=True)
class PagerDutyConfig(PagerDutyEvents):
    """Where pages go besides the topic's own subscribers."""

    enabled: bool = setting(False, meaning="Send pages to PagerDuty.")
    max_receive_count: int = setting(
        20, low=1, high=1000, meaning="Tries, with growing pauses, before a page waits in pages-dead."
    )


@dataclass(frozen=True, kw_only=True)
class NotificationsConfig(Settings):
    """Addresses to subscribe; each confirms by the link AWS mails to it."""

    alert_emails: tuple[str, ...] = setting((), meaning="Who gets alerts by mail.")
    operations_emails: tuple[str, ...] = setting((), meaning="Who gets what concerns Treeline itself.")

    def check(self) -> None:
        """Every address is one."""
        for key in ("alert_emails", "operations_emails"):
            for address in getattr(self, key):
                if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
                    raise WrongSettingError(key, f"not an address: {address!r}")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """What a deletion may take with it."""

    retain: bool = setting(True, meaning="Tables and buckets outlive the stacks.")
    termination_protection: bool = setting(False, meaning="The stack of state cannot be deleted.")


@dataclass(frozen=True, kw_only=True)
class LogsConfig(Settings):
    """Log groups of the functions."""

    retention_days: int = setting(30, choices=LOG_RETENTION_DAYS, meaning="How long lines are kept.")
