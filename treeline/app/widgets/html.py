"""What the custom widgets of the dashboards show, as HTML.

CloudWatch shows the string that a widget's function returns; scripts are not run there, SVG and inline styles are.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from treeline.core.alert import MetricEvidence
from treeline.core.wording import moved

COLOURS = {
    "p1": "#d13212",
    "p2": "#f2a33a",
    "quiet": "#2e8b57",
    "raised": "#a8c66c",
    "warming": "#7ea6e0",
    "silent": "#5f6b7a",
}
_STYLE = "font-family:sans-serif;font-size:13px;line-height:1.5"


def incidents_html(incidents: Sequence[Mapping[str, Any]], *, limit: int) -> str:
    """Open incidents, worst first, from the last alert of each (as JSON); `limit` is how many were asked for."""
    if not incidents:
        return page("<p>No open incidents.</p>")
    ordered = sorted(incidents, key=lambda a: (a["priority"], -float(a["severity"]), a["incident_id"]))
    rows = "".join(_incident_row(alert) for alert in ordered)
    more = f"<p>The first {limit}; there may be more.</p>" if len(incidents) >= limit else ""
    head = "".join(
        f'<th style="text-align:left;padding:2px 10px 2px 0">{name}</th>'
        for name in ("priority", "server", "since (UTC)", "severity", "what moved")
    )
    return page(f"<table style='border-collapse:collapse'><tr>{head}</tr>{rows}</table>{more}")


def _incident_row(alert: Mapping[str, Any]) -> str:
    colour = COLOURS["p1" if alert["priority"] == "P1" else "p2"]
    since = str(alert["clocks"]["first_anomalous_at"])[:16].replace("T", " ")
    evidence = "<br>".join(escape(moved(MetricEvidence.from_json(metric))) for metric in alert["metrics"][:3])
    url = str(alert.get("runbook_url", ""))
    server = escape(str(alert["server_id"]))
    if url.startswith("https://"):
        server = f'<a href="{escape(url)}">{server}</a>'
    cells = (
        f'<b style="color:{colour}">{escape(str(alert["priority"]))}</b>',
        server,
        escape(since),
        f"{float(alert['severity']):.1f}",
        evidence,
    )
    shown = "".join(f'<td style="vertical-align:top;padding:2px 10px 2px 0">{cell}</td>' for cell in cells)
    return f'<tr class="incident">{shown}</tr>'


def model_html(items: Mapping[str, Mapping[str, str]]) -> str:
    """Which models decide: the pointers of the controls table by id (`active`, `canary`, ...)."""
    if "active" not in items:
        return page("<p>No model is active: observations are stored and wait. See docs/deploy.md.</p>")
    blocks = []
    for name in sorted(items, key=lambda n: (n != "active", n)):
        rows = "".join(
            f'<tr><td style="padding-right:12px;color:#687078">{escape(key)}</td><td>{escape(value)}</td></tr>'
            for key, value in sorted(items[name].items())
        )
        blocks.append(f"<h4 style='margin:4px 0'>{escape(name)}</h4><table>{rows}</table>")
    canary = "" if "canary" in items else "<p>No canary is under way.</p>"
    return page("".join(blocks) + canary)


def page(body: str) -> str:
    """A widget's frame."""
    return f'<div style="{_STYLE}">{body}</div>'
