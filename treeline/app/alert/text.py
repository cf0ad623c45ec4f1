"""An alert in words, for mail: what moved, since when, what to look at, how to mute it."""

from shlex import quote

from treeline.core.alert import FLEET, P1_SEVERITY, P2_SEVERITY, Alert, AlertEvent
from treeline.core.wording import moved

# SNS: "ASCII text that begins with a letter, number or punctuation mark", no line breaks or control characters, up to
# 100 characters (API reference, Publish). A server's name may be any UTF-8.
MAX_SUBJECT_CHARACTERS = 100
_SAID = {
    AlertEvent.OPENED: "is far from its normal",
    AlertEvent.ESCALATED: "got worse",
    AlertEvent.DEESCALATED: "is nearer to its normal again",
    AlertEvent.RESOLVED: "is back to its normal",
    AlertEvent.SUPPRESSED: "is away from its normal; a mute keeps it from being paged",
}
_WITH_ADVICE = (AlertEvent.OPENED, AlertEvent.ESCALATED)


def subject(alert: Alert) -> str:
    """The subject line, within SNS's limits whatever the server is called."""
    text = f"{alert.priority.value} {alert.event.value}: {alert.server_id}"
    plain = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in plain)[:MAX_SUBJECT_CHARACTERS]


def mail(alert: Alert, *, stage: str) -> str:
    """The body of a mail; `stage` stands in the commands that it suggests."""
    who = "The fleet" if alert.server_id == FLEET else alert.server_id
    said = f"was {alert.ended_by}" if alert.ended_by else _SAID[alert.event]
    parts = [f"{who} {said}.", _figures(alert)]
    if alert.metrics and alert.event is not AlertEvent.RESOLVED:
        parts.append("\n".join(f"  {moved(metric)}" for metric in alert.metrics))
    parts.append(_times(alert))
    if alert.labels:
        parts.append("Labels: " + ", ".join(f"{name} {value}" for name, value in sorted(alert.labels.items())))
    if alert.event in _WITH_ADVICE:
        parts.append(_advice(alert, stage))
    links = ((alert.runbook_url, "Runbook"), (alert.dashboard_url, "Dashboard"))
    parts.append("\n".join([f"Incident: {alert.incident_id}", *(f"{name}: {url}" for url, name in links if url)]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(alert: Alert) -> str:
    if alert.event is AlertEvent.RESOLVED:
        return ""
    scale = f"P2 from {P2_SEVERITY}, P1 above {P1_SEVERITY}"
    return f"{alert.priority.value}, severity {alert.severity:.1f} ({scale}), model {alert.model_version}."


def _times(alert: Alert) -> str:
    clocks = alert.clocks
    return (
        f"First anomalous {clocks.first_anomalous_at}, decided by the observation of {clocks.observed_at}\n"
        f"(received {clocks.received_at}, scored {clocks.scored_at}, told {clocks.published_at})."
    )


def _advice(alert: Alert, stage: str) -> str:
    commands = [f"  treeline explain {quote(alert.incident_id)} --stage {stage}"]
    if alert.server_id != FLEET:
        commands.append(
            f"  treeline mute add --server {quote(alert.server_id)} --for 2h --reason .. --by .. --stage {stage}"
        )
    return "Why, and how to mute it:\n" + "\n".join(commands)
