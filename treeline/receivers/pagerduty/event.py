"""An alert as a PagerDuty Events API v2 event, without the routing key: building is apart from sending."""

import hashlib
import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from treeline.core.alert import Alert, AlertEvent, Priority
from treeline.core.wording import moved

# Limits of the Events API v2: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ and, for the
# size, https://developer.pagerduty.com/docs/events-api-v2/overview/ (512 KB).
MAX_SUMMARY_CHARACTERS = 1024
MAX_DEDUP_KEY_CHARACTERS = 255
MAX_EVENT_BYTES = 512_000
# The routing key is added on sending and needs its place too.
_ROUTING_KEY_BYTES = 512
_SUMMARY_METRICS = 3


class EventAction(StrEnum):
    """What PagerDuty is asked to do with the incident of a dedup key."""

    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


_ACTIONS = {
    AlertEvent.OPENED: EventAction.TRIGGER,
    AlertEvent.ESCALATED: EventAction.TRIGGER,
    AlertEvent.DEESCALATED: EventAction.TRIGGER,
    AlertEvent.RESOLVED: EventAction.RESOLVE,
}
_SEVERITIES = {Priority.P1: "critical", Priority.P2: "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDutyEvent:
    """The body to send but for its routing key, and which fields had to be cut to PagerDuty's limits."""

    body: dict[str, Any]
    cut: tuple[str, ...] = ()


def action_of(event: AlertEvent) -> EventAction | None:
    """What an incident event asks of PagerDuty; None: nothing (a suppressed one pages nobody)."""
    return _ACTIONS.get(event)


def dedup_key_of(key: str) -> str:
    """The key itself, or where PagerDuty would refuse its length, a hash of it; always the same for the same key."""
    if len(key) <= MAX_DEDUP_KEY_CHARACTERS:
        return key
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def build_event(alert: Alert, action: EventAction) -> PagerDutyEvent:
    """The event for an alert; only a trigger has a payload.

    Over the size limit the metrics are left out last to first, as they come in order of deviation, then the labels.
    """
    body: dict[str, Any] = {"event_action": action.value, "dedup_key": dedup_key_of(alert.dedup_key)}
    cut = [] if len(alert.dedup_key) <= MAX_DEDUP_KEY_CHARACTERS else ["dedup_key"]
    if action is not EventAction.TRIGGER:
        return PagerDutyEvent(body=body, cut=tuple(cut))
    summary = _summary(alert)
    if len(summary) > MAX_SUMMARY_CHARACTERS:
        summary = summary[: MAX_SUMMARY_CHARACTERS - 1] + "…"
        cut.append("summary")
    details = _details(alert)
    body["client"] = "Treeline"
    body["client_url"] = alert.dashboard_url
    body["links"] = [
        {"href": href, "text": text}
        for href, text in ((alert.runbook_url, "Runbook"), (alert.dashboard_url, "Dashboard"))
        if href
    ]
    body["payload"] = {
        "summary": summary,
        "source": alert.server_id,
        "severity": _SEVERITIES[alert.priority],
        "timestamp": alert.clocks.observed_at,
        "component": alert.server_id,
        "group": alert.labels.get("tier", ""),
        "class": "anomaly",
        "custom_details": details,
    }
    while _size(body) > MAX_EVENT_BYTES - _ROUTING_KEY_BYTES:
        field = "metrics" if details["metrics"] else "labels"
        if not details[field]:
            break
        details[field] = details[field][: len(details[field]) // 2] if field == "metrics" else {}
        if field not in cut:
            cut.append(field)
    return PagerDutyEvent(body=body, cut=tuple(cut))


def _size(body: dict[str, Any]) -> int:
    return len(json.dumps(body))


def _summary(alert: Alert) -> str:
    said = "; ".join(moved(metric) for metric in alert.metrics[:_SUMMARY_METRICS])
    return f"{alert.priority} {alert.server_id}: {said or 'anomalous'} (severity {alert.severity:.1f})"


def _finite(value: float | None) -> float | None:
    """None for what JSON has no number for; a page must not be refused for an unbounded band."""
    return value if value is not None and math.isfinite(value) else None


def _details(alert: Alert) -> dict[str, Any]:
    return {
        "incident_id": alert.incident_id,
        "event": alert.event.value,
        "sequence": alert.sequence,
        "severity": _finite(alert.severity),
        "score": _finite(alert.score),
        "threshold": _finite(alert.threshold),
        "metrics": [
            {
                "name": m.name,
                "unit": m.unit,
                "measured": _finite(m.measured),
                "expected": _finite(m.expected),
                "band": [_finite(m.low), _finite(m.high)],
                "deviation_sd": _finite(m.deviation),
                "expected_by": m.expected_by,
                "implied": _finite(m.implied),
                "implied_band": None if m.implied is None else [_finite(m.implied_low), _finite(m.implied_high)],
                "implied_by": [{"name": by.name, "measured": _finite(by.measured)} for by in m.implied_by],
                "outside": m.is_outside,
            }
            for m in alert.metrics
        ],
        "first_anomalous_at": alert.clocks.first_anomalous_at,
        "observed_at": alert.clocks.observed_at,
        "received_at": alert.clocks.received_at,
        "scored_at": alert.clocks.scored_at,
        "published_at": alert.clocks.published_at,
        "model_version": alert.model_version,
        "labels": alert.labels,
        "runbook_url": alert.runbook_url,
        "dashboard_url": alert.dashboard_url,
    }
