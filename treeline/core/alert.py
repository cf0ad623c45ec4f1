"""The alert: what Treeline tells people, as JSON on SNS (schema_version 1)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

SCHEMA_VERSION = 1
FLEET = "fleet"  # stands as server_id of an incident that the servers share
# The fixed scale stands here because functions that only tell of incidents have no numpy; see treeline.core.severity.
P2_SEVERITY = 1.5
P1_SEVERITY = 3.0


class AlertEvent(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    ESCALATED = "escalated"
    DEESCALATED = "deescalated"
    RESOLVED = "resolved"
    SUPPRESSED = "suppressed"


class Priority(StrEnum):
    """P1: severity above 3.0; P2: 1.5 to 3.0."""

    P1 = "P1"
    P2 = "P2"


class ExpectedBy(StrEnum):
    """What a metric's expected value is taken from."""

    TRAILING_DAY = "trailing_day"
    TIME_OF_DAY = "time_of_day"
    ROLLING_WINDOW = "rolling_window"  # the server's own last W seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplyingMetric:
    """Another metric of the same observation, from which it follows what a metric should be."""

    name: str
    unit: str
    measured: float | None  # None: missing


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEvidence:
    """One metric of the deciding observation beside what the server normally does; bands hold only possible values."""

    name: str
    unit: str
    measured: float | None  # None: missing, imputed
    expected: float
    low: float  # the band a normal value stays in
    high: float
    deviation: float  # thirds of the way from the expected value to the band's edge, signed: beyond 3 is outside
    expected_by: ExpectedBy | None = None  # None: an alert of a version that did not say
    implied: float | None = None  # what the server's other metrics imply; None: they say nothing of it
    implied_low: float | None = None  # the band around that
    implied_high: float | None = None
    implied_deviation: float | None = None  # from the implied value, in thirds of the way to its band's edge
    implied_by: tuple[ImplyingMetric, ...] = ()  # the metrics that weigh most in it, at most two

    @property
    def is_unexpected(self) -> bool:
        """Whether the measured value lies outside the band around the expected one."""
        return self.measured is not None and not self.low <= self.measured <= self.high

    @property
    def is_unrelated(self) -> bool:
        """Whether it lies outside the band around what the other metrics imply."""
        if self.measured is None or self.implied_low is None or self.implied_high is None:
            return False
        return not self.implied_low <= self.measured <= self.implied_high

    @property
    def is_outside(self) -> bool:
        """Whether it lies outside either band: what the page shows is then evidence."""
        return self.is_unexpected or self.is_unrelated

    @property
    def is_told_by_relation(self) -> bool:
        """Whether the implied value says more of it than the expected one does."""
        return self.is_unrelated and not self.is_unexpected

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read a metric of the wire format, of this version or of one that told less; raises TypeError for holes."""
        by = body.get("expected_by")
        implied_by = tuple(ImplyingMetric(**each) for each in body.get("implied_by", ()))
        return cls(**{**body, "expected_by": ExpectedBy(by) if by else None, "implied_by": implied_by})


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The deciding observation's times, ISO 8601 UTC."""

    first_anomalous_at: str
    observed_at: str
    received_at: str
    scored_at: str
    published_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One incident event, as it is published."""

    incident_id: str  # "<server_id>/<opened observation, ISO>"; scope "fleet" stands as server_id
    sequence: int  # 1 for opened, then counting: orders events of one incident, makes duplicates visible
    event: AlertEvent
    priority: Priority
    server_id: str
    dedup_key: str  # account/region/profile/server: never score, time or model
    severity: float
    score: float
    threshold: float
    metrics: list[MetricEvidence]
    clocks: Clocks
    model_version: str
    labels: dict[str, str] = field(default_factory=dict)
    runbook_url: str = ""
    dashboard_url: str = ""
    follows: str = ""  # incident_id of the incident before under this dedup_key, for opened; so pages keep their order
    step: int = 0  # number of the change as decided, where it differs from `sequence`, which counts what is published
    suppressed: str = ""  # why it is stored and not published: "muted", "shadow"; empty: it is. In JSON: `quiet`
    muted_by: str = ""  # id of the mute or window that keeps, or kept, it from people
    ended_by: str = ""  # of resolved: what ended it where its metrics did not, "retired: REASON"
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """The alert as plain JSON values; the wire format."""
        return {"quiet" if name == "suppressed" else name: value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Alert":
        """Read the wire format; raises ValueError for another schema version, KeyError or TypeError for holes."""
        if body.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"schema_version must be {SCHEMA_VERSION}, got {body.get('schema_version')!r}")
        values = {"suppressed" if name == "quiet" else name: value for name, value in body.items()}
        values["event"] = AlertEvent(values["event"])
        values["priority"] = Priority(values["priority"])
        values["metrics"] = [MetricEvidence.from_json(m) for m in values["metrics"]]
        values["clocks"] = Clocks(**values["clocks"])
        return cls(**values)

    def attributes(self) -> dict[str, tuple[str, str]]:
        """SNS message attributes for filter policies: name -> (DataType, StringValue)."""
        attributes = {
            "priority": ("String", self.priority.value),
            "event": ("String", self.event.value),
            "server_id": ("String", self.server_id),
            "severity": ("Number", f"{self.severity:.6g}"),
        }
        for label in ("environment", "tier"):
            if self.labels.get(label):  # SNS refuses an empty value
                attributes[label] = ("String", self.labels[label])
        return attributes
