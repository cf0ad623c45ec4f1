"""The alert: what Treeline tells people, as JSON on SNS (schema_version 1)."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEvidence:
    """One metric of the deciding observation beside what the server normally does."""

    name: str
    unit: str
    measured: float | None  # None: missing, imputed
    expected: float
    low: float  # the band a normal value stays in
    high: float
    deviation: float  # standard deviations, signed


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
        values["metrics"] = [MetricEvidence(**m) for m in values["metrics"]]
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
