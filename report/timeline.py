"""The fleet over time: a row a server, severity as heat, labels as outlines, incidents as marks."""

from collections.abc import Mapping

import numpy as np

from report.data import IncidentMark, LabelMark, ReportData, ServerTrace
from report.drawing import TimeScale, duration, moment, text
from training.evaluate.judge import Place, Verdict

WIDTH = 1180
_LEFT, _RIGHT, _TOP, _COLUMNS = 128, 14, 26, 720
_HEAT = (0.5, 1.0, 1.5, 3.0)  # severities at which the shade changes; P2 from 1.5, P1 above 3
_MOST_ROWS = 80


def fleet_timeline(data: ReportData, anchors: Mapping[str, str], *, most_rows: int = _MOST_ROWS) -> tuple[str, int]:
    """The SVG, and how many quiet servers it leaves out.

    Args:
        data: The report's data.
        anchors: Where an incident or a label (by `anchor_key`) is shown in detail; marks link there.
        most_rows: With more servers than that, those without labels and incidents go first.
    """
    traces = _shown(data, most_rows)
    row = 22 if len(traces) <= 30 else 15
    bar = row - 6
    height = _TOP + row * len(traces) + 8
    xs = TimeScale(data.start_ms, data.end_ms, _LEFT, WIDTH - _LEFT - _RIGHT)
    parts = [f'<svg class="timeline" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Fleet over time">']
    for x, label, midnight in xs.ticks(about=9):
        parts.append(f'<path class="{"day" if midnight else "grid"}" d="M{x:.1f} {_TOP - 6}V{height - 6}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="14" text-anchor="middle">{label}</text>')
    heat: dict[str, list[str]] = {}
    marks: list[str] = []
    for i, trace in enumerate(traces):
        top = _TOP + i * row
        middle = top + bar / 2
        parts.append(
            f'<text class="server" x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">'
            f"{text(trace.server_id)}</text>"
        )
        parts.append(f'<rect class="row" x="{_LEFT}" y="{top}" width="{xs.width:.0f}" height="{bar}" rx="2"/>')
        for level, runs in _heat_runs(trace, xs).items():
            heat.setdefault(level, []).extend(f"M{a:.1f} {middle:.1f}h{b - a:.1f}" for a, b in runs)
        marks.extend(_label(x, xs, top, bar, anchors) for x in data.labels if x.server_id == trace.server_id)
        marks.extend(_incident(x, xs, middle, anchors) for x in data.incidents if x.server_id == trace.server_id)
    for level, drawn in sorted(heat.items()):
        parts.append(f'<path class="heat {level}" stroke-width="{bar}" d="{"".join(drawn)}"/>')
    return "".join([*parts, *marks, "</svg>"]), len(data.traces) - len(traces)


def anchor_key(mark: LabelMark | IncidentMark) -> str:
    """The key of a mark in `anchors`."""
    if isinstance(mark, IncidentMark):
        return mark.incident_id
    return f"{mark.server_id}|{mark.start_ms}"


_SHAPES = {
    ("P1", False): "m0-6.5l6.5 11.5h-13z",
    ("P2", False): "m0-6l6 6-6 6-6-6z",
    ("P1", True): "m0 6.5l6.5-11.5h-13z",
    ("P2", True): "m-5-5h10v10h-10z",
}


def mark_shape(priority: str, fault: str, *, x: float, y: float, title: str = "") -> str:
    """P1 is a triangle, P2 a diamond; hollow where it was false.

    At a recovery the triangle stands on its head and the diamond is a square, so colour is never the only sign.

    Args:
        priority: P1 or P2.
        fault: "false", "recovery", or empty for a page that was right, or not judged.
        x, y: Its middle.
        title: Shown under the pointer.
    """
    hollow = " false" if fault else ""
    name = f"mark {priority.lower()}{hollow}{' recovery' if fault == 'recovery' else ''}"
    told = f"<title>{text(title)}</title>" if title else ""
    return f'<path class="{name}" d="M{x:.1f} {y:.1f}{_SHAPES[priority, fault == "recovery"]}">{told}</path>'


def _shown(data: ReportData, most_rows: int) -> list[ServerTrace]:
    traces = sorted(data.traces, key=lambda t: t.server_id)
    if len(traces) <= most_rows:
        return traces
    eventful = {m.server_id for m in data.labels} | {m.server_id for m in data.incidents}
    chosen = sorted(traces, key=lambda t: (t.server_id not in eventful, t.server_id))[:most_rows]
    return sorted(chosen, key=lambda t: t.server_id)


def _heat_runs(trace: ServerTrace, xs: TimeScale) -> dict[str, list[tuple[float, float]]]:
    """Stretches (from x, to x) of each shade: the highest severity of a column decides; no data is its own."""
    span = xs.end_ms - xs.start_ms + 1
    # A server that was absent is not scored either; only one that was observed can be warming up.
    observed = ~(np.isnan(trace.severity) & np.isnan(trace.values).all(axis=1))
    inside = (trace.times_ms >= xs.start_ms) & (trace.times_ms <= xs.end_ms) & observed
    columns = ((trace.times_ms[inside] - xs.start_ms) * _COLUMNS // span).astype(int)
    severity = np.asarray(trace.severity, dtype=np.float64)[inside]
    if not len(columns):
        return {"absent": [(xs.left, xs.left + xs.width)]}
    worst = np.full(_COLUMNS, -np.inf)
    np.maximum.at(worst, columns, np.where(np.isnan(severity), -1.0, severity))
    # A sampling step wider than a column leaves holes that are not gaps.
    step = np.median(np.diff(trace.times_ms[inside])) if len(columns) > 1 else 0
    reach = int(1.5 * step * _COLUMNS / span) + 1
    for _ in range(reach):
        hole = np.isneginf(worst)
        worst[1:] = np.where(hole[1:], worst[:-1], worst[1:])
    level = np.where(np.isneginf(worst), -2, np.where(worst < 0, -1, np.searchsorted(_HEAT, worst, side="right")))
    runs: dict[str, list[tuple[float, float]]] = {}
    borders = np.flatnonzero(np.diff(level)) + 1
    for first, last in zip([0, *borders], [*borders, _COLUMNS], strict=True):
        if level[first] != 0:
            name = {-2: "absent", -1: "warming"}.get(int(level[first]), f"s{level[first]}")
            unit = xs.width / _COLUMNS
            runs.setdefault(name, []).append((xs.left + first * unit, xs.left + last * unit))
    return runs


def _label(mark: LabelMark, xs: TimeScale, top: float, bar: float, anchors: Mapping[str, str]) -> str:
    left, right = xs.x(mark.start_ms), xs.x(mark.end_ms)
    missed = "" if mark.found_by else " missed"
    outcome = f"found after {duration(mark.delay_s)}" if mark.found_by else "missed"
    title = f"{mark.server_id}: labelled {mark.kind or 'incident'} {moment(mark.start_ms)}, {outcome}"
    shape = (
        f'<rect class="label{missed}" x="{left - 1:.1f}" y="{top - 1.5:.1f}" width="{max(4.0, right - left + 2):.1f}" '
        f'height="{bar + 3}" rx="2.5"><title>{text(title)}</title></rect>'
    )
    return _linked(shape, anchors.get(anchor_key(mark)))


def _incident(mark: IncidentMark, xs: TimeScale, middle: float, anchors: Mapping[str, str]) -> str:
    verdict = "" if mark.verdict is None else f", {mark.verdict.value}"
    place = "" if mark.place is None else f" at the {mark.place.value}" if mark.place is not Place.LATER else " later"
    title = f"{mark.server_id}: {mark.priority} opened {moment(mark.opened_ms)}{verdict}{place}"
    fault = "recovery" if mark.is_recovery else "false" if mark.verdict is Verdict.FALSE else ""
    shape = mark_shape(mark.priority, fault, x=xs.x(mark.opened_ms), y=middle, title=title)
    return _linked(shape, anchors.get(anchor_key(mark)))


def _linked(shape: str, anchor: str | None) -> str:
    return f'<a href="#{anchor}">{shape}</a>' if anchor else shape
