"""`report.html`: the whole replay on one page that needs no network."""

import os
from collections.abc import Mapping
from pathlib import Path

from report import scoreboard
from report.data import IncidentMark, LabelMark, ReportData, ServerTrace
from report.drawing import duration, moment, number, text
from report.panels import Episode, close_up
from report.style import COLOURS, PAGE, SCRIPT, SHAPES
from report.timeline import anchor_key, fleet_timeline, mark_shape
from report.traces import never_judged_line
from training.evaluate.judge import Place, Verdict
from treeline.core.wording import moved

_BUDGET_BYTES = 3_600_000  # of all close-ups together; the page stays under 5 MB
_BYTES_A_COLUMN, _BYTES_A_FRAME = 95, 3_000  # of one close-up, measured: six lines, two points a column each
_MOST_CLOSE_UPS = 400  # beyond, the list goes on without drawings: found and missed ones are drawn first
_OUTCOMES = {
    "onset": "found at onset",
    "later": "found later",
    "missed": "missed",
    "recovery": "false: recovery",
    "false": "false",
    "repeat": "repeated",
    "unjudged": "opened",
}


def write_report(path: Path, data: ReportData) -> None:
    """Write the page; an earlier one is replaced only once the new one is complete.

    Raises:
        OSError: The folder cannot be written.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_text(render(data), encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def render(data: ReportData) -> str:
    """The page as text."""
    shown = episodes(data)
    anchors = {anchor_key(mark): e.anchor for e in shown for mark in (e.label, e.incident) if mark is not None}
    timeline, hidden = fleet_timeline(data, anchors)
    quiet = f" {hidden} more servers are not drawn." if hidden else ""
    if unjudged := never_judged_line(data.never_judged):
        quiet += f" {text(unjudged)}."
    span = f"{moment(data.start_ms)} to {moment(data.end_ms)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{text(data.title)}</title><style>{COLOURS}{SHAPES}{PAGE}</style></head><body><main>"
        f'<h1>{text(data.title)}</h1><p class="lead">{text(data.subtitle)}</p>{scoreboard.tiles(data)}'
        f"<section><h2>The fleet over time</h2>"
        f'<p class="hint">{span}. Shade: severity. Marks lead to the incident.{quiet}</p>'
        f'<div class="wide">{timeline}</div>{_key()}</section>'
        f"{scoreboard.result_table(data)}{data.comparison}{scoreboard.breakdowns(data)}{_incidents(data, shown)}"
        f"{scoreboard.machinery(data)}{scoreboard.facts(data)}</main><script>{SCRIPT}</script></body></html>"
    )


def episodes(data: ReportData) -> list[Episode]:
    """What the list shows, in time order: every incident, and every label that none of them found."""
    drawn = {trace.server_id for trace in data.traces}
    labels = {(label.server_id, label.start_ms): label for label in data.labels}
    shown = []
    for i, mark in enumerate(sorted(data.incidents, key=lambda m: (m.opened_ms, m.server_id))):
        if mark.server_id in drawn:
            label = None if mark.label_start_ms is None else labels.get((mark.server_id, mark.label_start_ms))
            shown.append(Episode(anchor=f"incident-{i}", server_id=mark.server_id, incident=mark, label=label))
    for i, label in enumerate(data.labels):
        if not label.found_by and label.server_id in drawn:
            shown.append(Episode(anchor=f"missed-{i}", server_id=label.server_id, incident=None, label=label))
    return sorted(shown, key=lambda e: (e.at_ms, e.server_id))


def outcome(episode: Episode) -> str:
    """One of the keys of the badges: a hit by its place, missed, recovery (a false page as it ended), and so on."""
    mark = episode.incident
    if mark is None:
        return "missed"
    if mark.verdict is None:
        return "unjudged"
    if mark.verdict is Verdict.HIT:
        return (mark.place or Place.LATER).value
    return "recovery" if mark.is_recovery else mark.verdict.value


def _incidents(data: ReportData, shown: list[Episode]) -> str:
    if not shown:
        return '<section><h2>Incidents</h2><p class="quiet">None opened, and none was labelled.</p></section>'
    traces = {trace.server_id: trace for trace in data.traces}
    order = list(_OUTCOMES)
    drawn = {e.anchor for e in sorted(shown, key=lambda e: order.index(outcome(e)))[:_MOST_CLOSE_UPS]}
    columns = max(60, min(420, (_BUDGET_BYTES // len(drawn) - _BYTES_A_FRAME) // _BYTES_A_COLUMN))
    kinds = scoreboard.counts([outcome(e) for e in shown], list(_OUTCOMES))
    buttons = "".join(
        f'<button data-show="{name}" aria-pressed="false">{_OUTCOMES[name]} {count}</button>' for name, count in kinds
    )
    rows = "".join(_episode(data, traces, e, columns if e.anchor in drawn else 0) for e in shown)
    return (
        f'<section id="incidents"><h2>Every incident</h2>'
        f'<p class="hint">Open one to see it: what was measured, the band a '
        f"normal value stays in, the score and when it was told.</p>"
        f'<div class="filters"><button data-show="all" aria-pressed="true">all {len(shown)}</button>{buttons}</div>'
        f"{_index(shown)}{rows}</section>"
    )


def _index(shown: list[Episode]) -> str:
    """Links to all of them, by what they came to."""
    groups = []
    for name, told in _OUTCOMES.items():
        links = " · ".join(
            f'<a href="#{e.anchor}">{text(e.server_id)} {moment(e.at_ms)[5:]}</a>' for e in shown if outcome(e) == name
        )
        if links:
            groups.append(f'<p><span class="badge {name}">{told}</span> {links}</p>')
    return f'<nav class="index">{"".join(groups)}</nav>'


def _episode(data: ReportData, traces: Mapping[str, ServerTrace], episode: Episode, columns: int) -> str:
    result, mark, label = outcome(episode), episode.incident, episode.label
    priority = f'<span class="p {mark.priority}">{mark.priority}</span>' if mark else "<span></span>"
    drawing = '<p class="quiet">Not drawn: there are too many.</p>'
    if columns:
        drawing = close_up(data, traces[episode.server_id], episode, columns=columns)
    return (
        f'<details class="episode" id="{episode.anchor}" data-outcome="{result}"><summary>'
        f'<span class="badge {result}">{_OUTCOMES[result]}</span>{priority}<span>{text(episode.server_id)}</span>'
        f'<span class="when">{moment(episode.at_ms)}</span><span class="why">{_why(mark, label)}</span></summary>'
        f'<div class="body"><p class="facts">{_facts(mark, label)}</p><div class="wide">{drawing}</div></div></details>'
    )


def _why(mark: IncidentMark | None, label: LabelMark | None) -> str:
    parts = [text(label.kind.replace("_", " "))] if label and label.kind else []
    if mark and mark.decided_by:
        parts.append(text(mark.decided_by))
    if mark and mark.evidence:
        seen_at = f" at {moment(mark.evidence_ms)}" if mark.evidence_ms is not None else ""
        parts.append(text(moved(mark.evidence[0])) + seen_at)
    if mark is None and label:
        parts.append(text(label.seen) or f"lasted {duration((label.end_ms - label.start_ms) / 1000)}")
    return " · ".join(parts)


def _facts(mark: IncidentMark | None, label: LabelMark | None) -> str:
    parts = []
    if label:
        parts.append(
            f"labelled {text(label.kind.replace('_', ' ') or 'incident')} "
            f"{moment(label.start_ms)} to {moment(label.end_ms)}"
        )
        if label.seen:
            parts.append(text(label.seen))
    if mark:
        parts.append(text(mark.incident_id))
        parts.append(
            f"opened {moment(mark.opened_ms)}" + (f", severity {number(mark.severity)}" if mark.severity else "")
        )
        if mark.decided_by:
            parts.append(f"decided by {text(mark.decided_by)}")
        if mark.score is not None:
            parts.append(f"score {number(mark.score)}, threshold {number(mark.threshold)}")
        if label and label.delay_s is not None and label.found_by == mark.incident_id:
            parts.append(f"{duration(label.delay_s)} after the onset")
        if mark.is_recovery:
            parts.append("opened as the trouble was ending, which helps nobody: counted as false")
        ended = "still open at the end" if mark.resolved_ms is None else f"resolved {moment(mark.resolved_ms)}"
        parts.append(ended)
        if mark.pages:
            parts.append(f"{mark.pages} pages delivered")
    return " · ".join(parts)


def _key() -> str:
    def sample(drawing: str, name: str, width: int = 22) -> str:
        return f'<span><svg viewBox="0 0 {width} 16" width="{width}" height="16">{drawing}</svg>{name}</span>'

    shade = '<path class="heat {}" stroke-width="12" d="M2 8h18"/>'
    return (
        '<p class="key">'
        + sample('<rect class="label" x="2" y="2" width="18" height="12" rx="2.5"/>', "labelled, found")
        + sample('<rect class="label missed" x="2" y="2" width="18" height="12" rx="2.5"/>', "labelled, missed")
        + sample(mark_shape("P1", "", x=11, y=8), "P1 opened")
        + sample(mark_shape("P2", "", x=11, y=8), "P2 opened")
        + sample(mark_shape("P1", "false", x=11, y=8), "hollow: no label there")
        + sample(mark_shape("P1", "recovery", x=11, y=8), "P1 as a label ends")
        + sample(mark_shape("P2", "recovery", x=11, y=8), "P2 as a label ends")
        + sample(shade.format("s2"), "severity 1 to 1.5")
        + sample(shade.format("s3"), "P2, 1.5 to 3")
        + sample(shade.format("s4"), "P1, above 3")
        + sample(shade.format("warming"), "warming up")
        + sample(shade.format("absent"), "absent")
        + "</p>"
    )
