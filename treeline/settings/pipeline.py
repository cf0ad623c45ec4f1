"""What each Lambda function is told: frozen, typed, validated once; `to_env` in a stack, `from_env` in a handler."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self, get_args

from treeline.core.errors import SettingsError

_NONE = "none"
_EXPECTED = {int: "an integer", float: "a finite number", bool: "true or false", str: "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSettings:
    """Base of settings whose fields travel as upper-case environment variables.

    Supported field types: str, int, float, bool, and each of them optional (`X | None`). An absent or empty
    variable leaves a field at its default; a field without one must be present. `none` sets an optional number to
    None, so that switching a default limit off survives the trip.
    """

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read every field; raises SettingsError naming the variable, its value and what was expected."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            raw = env.get(field.name.upper(), "")
            if raw == "":
                continue
            values[field.name] = _parse(field.name, raw, field.type)
        missing = [f.name.upper() for f in fields(cls) if f.default is MISSING and f.name not in values]
        if missing:
            raise SettingsError(f"{cls.__name__}: {', '.join(missing)} must be set")
        return cls(**values)

    def to_env(self) -> dict[str, str]:
        """The environment a stack gives the function; a None that is the default anyway is left out."""
        values = {f.name.upper(): (getattr(self, f.name), f.default) for f in fields(self)}
        return {k: _format(v) for k, (v, default) in values.items() if v is not None or default is not None}


def _parse(name: str, raw: str, annotation: Any) -> Any:
    kinds = [k for k in (get_args(annotation) or (annotation,)) if k is not type(None)]
    kind = kinds[0]
    if raw == _NONE and type(None) in get_args(annotation):
        return None
    try:
        if kind is bool:
            return {"true": True, "false": False}[raw.lower()]
        value = kind(raw)
    except (ValueError, KeyError) as error:
        raise SettingsError(f"{name.upper()} must be {_EXPECTED[kind]}, got {raw!r}") from error
    if kind is float and not math.isfinite(value):
        raise SettingsError(f"{name.upper()} must be {_EXPECTED[kind]}, got {raw!r}")
    return value


def _format(value: object) -> str:
    if value is None:
        return _NONE
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require(ok: bool, name: str, expected: str, value: object) -> None:
    if not ok:
        raise SettingsError(f"{name} must be {expected}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings(EnvSettings):
    """From the Kinesis stream to the append-only table."""

    stage: str
    metrics: str  # JSON list of {"name", "unit", "minimum", "maximum"}: the profile's metric set
    observations_table: str
    servers_table: str
    quarantine_bucket: str
    tick_queue_url: str
    group_size: int = 50
    max_future_s: int | None = 300  # None: replays of other times are welcome
    max_age_s: int | None = 172_800
    observation_ttl_s: int = 172_800  # counted from receipt

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(1 <= self.group_size <= 50, "GROUP_SIZE", "in [1, 50] (one endpoint call)", self.group_size)
        _require(self.observation_ttl_s >= 3600, "OBSERVATION_TTL_S", "at least 3600", self.observation_ttl_s)
        try:
            json.loads(self.metrics)
        except ValueError as error:
            raise SettingsError(f"METRICS must be a JSON list, got {self.metrics[:80]!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchSettings(EnvSettings):
    """The heartbeat."""

    stage: str
    servers_table: str
    tick_queue_url: str
    group_size: int = 50
    second_tick_delay_s: int = 30

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(1 <= self.group_size <= 50, "GROUP_SIZE", "in [1, 50] (one endpoint call)", self.group_size)
        is_delay = 0 <= self.second_tick_delay_s <= 900
        _require(is_delay, "SECOND_TICK_DELAY_S", "in [0, 900] (SQS DelaySeconds)", self.second_tick_delay_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectSettings(EnvSettings):
    """From observations to alerts."""

    stage: str
    metrics: str  # as IngestSettings.metrics; the active model must have been trained on the same set
    observations_table: str
    servers_table: str
    state_table: str
    scores_table: str
    incidents_table: str
    controls_table: str
    rollups_table: str
    models_bucket: str
    endpoint_name: str
    alerts_topic_arn: str
    tick_queue_url: str
    policy: str = "{}"  # JSON overrides of treeline.core.detection.policy.PolicySettings
    group_size: int = 50
    late_window_s: int = 600
    watermark_wait_s: float = 45.0
    score_ttl_s: int = 1_209_600
    silent_after_s: int = 300
    endpoint_retry_s: int = 20
    runbook_url: str = "https://treeline.invalid/runbooks"
    dashboard_url: str = "https://treeline.invalid/dashboard"
    paging: str = "people"  # "shadow": everything is done and stored, nobody is told

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(1 <= self.group_size <= 50, "GROUP_SIZE", "in [1, 50] (one endpoint call)", self.group_size)
        _require(self.late_window_s >= 0, "LATE_WINDOW_S", "at least 0", self.late_window_s)
        _require(self.watermark_wait_s >= 0, "WATERMARK_WAIT_S", "at least 0", self.watermark_wait_s)
        _require(self.score_ttl_s >= 3600, "SCORE_TTL_S", "at least 3600", self.score_ttl_s)
        _require(self.silent_after_s > 0, "SILENT_AFTER_S", "above 0", self.silent_after_s)
        _require(0 <= self.endpoint_retry_s <= 28_800, "ENDPOINT_RETRY_S", "in [0, 28800] (SQS)", self.endpoint_retry_s)
        _require(self.paging in ("people", "shadow"), "PAGING", "people or shadow", self.paging)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReprocessSettings(EnvSettings):
    """From the dead-letter queue of ticks back to work."""

    stage: str
    tick_queue_url: str
    dead_letter_queue_url: str
    endpoint_name: str
    max_messages: int = 500
    max_delay_s: int = 30  # redriven ticks are spread over this time, oldest first

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(0 <= self.max_delay_s <= 900, "MAX_DELAY_S", "in [0, 900] (SQS DelaySeconds)", self.max_delay_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPagerDutySettings(EnvSettings):
    """From an SNS alert to PagerDuty."""

    stage: str
    page_queue_url: str
    pages_table: str
    routing_key_secret_arn: str
    events_url: str = "https://events.pagerduty.com/v2/enqueue"
    timeout_s: float = 10.0
    retry_base_s: int = 5

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(0 < self.timeout_s <= 60, "TIMEOUT_S", "in (0, 60]", self.timeout_s)
        _require(1 <= self.retry_base_s <= 900, "RETRY_BASE_S", "in [1, 900]", self.retry_base_s)
