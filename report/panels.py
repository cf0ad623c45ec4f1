"""One incident, or one missed label, from close up: severity, score against its threshold, and the metrics."""

from dataclasses import dataclass

import numpy as np

from report.data import IncidentMark, LabelMark, ReportData, ServerTrace
from report.drawing import TimeScale, ValueScale, band_path, line_path, moment, number, text, value_scale
from treeline.core.alert import MetricEvidence
from treeline.core.profile import Metric
from treeline.core.wording import moved

WIDTH = 900
_LEFT, _RIGHT, _HEAD, _PANEL, _GAP = 62, 12, 50, 66, 28
_MOST_METRICS = 4
_P2, _P1 = 1.5, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """What is shown together: an incident with the label it fell on, or a label that nothing fell on."""

    anchor: str
    server_id: str
    incident: IncidentMark | None
    label: LabelMark | None

    @property
    def at_ms(self) -> int:
        """Where it stands in the list."""
        return self.incident.opened_ms if self.incident else self.label.start_ms if self.label else 0


def close_up(data: ReportData, trace: ServerTrace, episode: Episode, *, columns: int) -> str:
    """The SVG of an episode; `columns` is how finely each line is drawn."""
    start_ms, end_ms = _window(episode, trace)
    chosen = slice(*np.searchsorted(trace.times_ms, [start_ms, end_ms + 1]))
    if chosen.start == chosen.stop:
        return '<p class="quiet">No observations around it.</p>'
    xs = TimeScale(start_ms, end_ms, _LEFT, WIDTH - _LEFT - _RIGHT)
    panels = [_severity(trace, chosen, xs, columns, _HEAD)]
    top = _HEAD + _PANEL + _GAP
    if trace.score is not None and np.isfinite(trace.score[chosen]).any():
        panels.append(_score(trace, chosen, xs, columns, top))
        top += _PANEL + _GAP
    for index in _metrics(data, trace, episode, chosen):
        panels.append(_metric(data.metrics[index], index, trace, episode.incident, chosen, xs, columns, top))
        top += _PANEL + _GAP
    height = top - 8
    frame = [f'<svg class="closeup" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(episode.server_id)}">']
    if episode.label:
        left, right = xs.x(episode.label.start_ms), xs.x(episode.label.end_ms)
        frame.append(
            f'<rect class="labelled{"" if episode.label.found_by else " missed"}" x="{left:.1f}" y="12" '
            f'width="{max(1.5, right - left):.1f}" height="{height - 24}"/>'
        )
    for x, name, _ in xs.ticks(about=8):
        frame.append(f'<path class="grid" d="M{x:.1f} 16V{height - 14}"/>')
        frame.append(f'<text class="tick" x="{x:.1f}" y="{height - 2}" text-anchor="middle">{name}</text>')
    return "".join([*frame, _events(episode, xs, height), *panels, "</svg>"])


def _window(episode: Episode, trace: ServerTrace) -> tuple[int, int]:
    moments = []
    if episode.label:
        moments += [episode.label.start_ms, episode.label.end_ms]
    if episode.incident:
        mark = episode.incident
        moments += [mark.opened_ms, mark.first_anomalous_ms or mark.opened_ms, mark.resolved_ms or mark.opened_ms]
    first, last = min(moments), max(moments)
    air = int(max(0.45 * (last - first), 45 * _step_ms(trace)))
    return max(first - air, int(trace.times_ms[0])), min(last + air, int(trace.times_ms[-1]))


def _metrics(data: ReportData, trace: ServerTrace, episode: Episode, chosen: slice) -> list[int]:
    """The evidence's metrics; for a label without an incident those that moved most inside it."""
    by_name = {info.name: i for i, info in enumerate(data.metrics)}
    if episode.incident and episode.incident.evidence:
        told = [by_name[m.name] for m in episode.incident.evidence if m.name in by_name]
        if len(data.metrics) > _MOST_METRICS or len(told) == len(data.metrics):
            return told[:_MOST_METRICS]
        return [*told, *(i for i in range(len(data.metrics)) if i not in told)]
    if len(data.metrics) <= _MOST_METRICS or episode.label is None:
        return list(range(min(len(data.metrics), _MOST_METRICS)))
    times = trace.times_ms[chosen]
    inside = (times >= episode.label.start_ms) & (times <= episode.label.end_ms)
    values = np.asarray(trace.values[chosen], dtype=np.float64)
    if not inside.any() or inside.all():
        return list(range(_MOST_METRICS))
    around = np.nan_to_num(values[~inside])
    spread = np.maximum(around.std(axis=0), 0.01 * np.ptp(np.nan_to_num(values), axis=0) + 1e-9)
    moved = np.abs(np.nan_to_num(values[inside]) - around.mean(axis=0)).max(axis=0) / spread
    return [int(i) for i in np.argsort(-moved, kind="stable")[:_MOST_METRICS]]


def _severity(trace: ServerTrace, chosen: slice, xs: TimeScale, columns: int, top: float) -> str:
    severity = np.asarray(trace.severity[chosen], dtype=np.float64)
    highest = float(np.nanmax(severity)) if np.isfinite(severity).any() else 0.0
    ys = ValueScale(0.0, min(12.0, max(4.5, highest * 1.08)), top, _PANEL)
    right, p2, p1 = xs.left + xs.width, ys.y(_P2), ys.y(_P1)
    zones = (
        f'<rect class="zone p2" x="{xs.left}" y="{p1:.1f}" width="{xs.width}" height="{p2 - p1:.1f}"/>'
        f'<rect class="zone p1" x="{xs.left}" y="{top}" width="{xs.width}" height="{p1 - top:.1f}"/>'
        f'<text class="zonename" x="{right - 4}" y="{p2 - 3:.1f}" text-anchor="end">P2 from 1.5</text>'
        f'<text class="zonename" x="{right - 4}" y="{p1 - 3:.1f}" text-anchor="end">P1 above 3</text>'
    )
    line = line_path(trace.times_ms[chosen], severity, xs, ys, columns=columns, step_ms=_step_ms(trace))
    return _panel("severity", "calibrated, one scale for every fleet", ys, xs, zones, _stroke("severity", line))


def _score(trace: ServerTrace, chosen: slice, xs: TimeScale, columns: int, top: float) -> str:
    times, score = trace.times_ms[chosen], np.asarray(trace.score)[chosen]
    threshold = None
    if trace.threshold is not None:
        threshold = np.broadcast_to(np.asarray(trace.threshold, dtype=np.float64), trace.times_ms.shape)[chosen]
    ys = value_scale([score] if threshold is None else [score, threshold], top=top, height=_PANEL)
    step_ms = _step_ms(trace)
    behind = ""
    if threshold is not None:
        ceiling = np.where(np.isfinite(threshold), ys.high, np.nan)
        behind = _area("beyond", band_path(times, threshold, ceiling, xs, ys, columns=columns // 2))
        behind += _stroke("threshold", line_path(times, threshold, xs, ys, columns=columns // 2, step_ms=step_ms))
    line = line_path(times, score, xs, ys, columns=columns, step_ms=step_ms)
    note = "of the forest" if threshold is None else "of the forest; dashed: the score that means P2"
    return _panel("score", note, ys, xs, behind, _stroke("score", line))


def _metric(
    info: Metric,
    index: int,
    trace: ServerTrace,
    incident: IncidentMark | None,
    chosen: slice,
    xs: TimeScale,
    columns: int,
    top: float,
) -> str:
    times, values = trace.times_ms[chosen], trace.values[chosen, index]
    band = None
    if trace.low is not None and trace.high is not None:
        band = trace.low[chosen, index], trace.high[chosen, index]
    ys = value_scale([values, *(band or ())], top=top, height=_PANEL)
    step_ms, behind = _step_ms(trace), ""
    if band:
        behind = _area("band", band_path(times, *band, xs, ys, columns=columns // 3))
    if trace.expected is not None:
        expected = line_path(times, trace.expected[chosen, index], xs, ys, columns=columns // 3, step_ms=step_ms)
        behind += _stroke("expected", expected)
    line = line_path(times, values, xs, ys, columns=columns, step_ms=step_ms)
    evidence = next((m for m in incident.evidence if m.name == info.name), None) if incident else None
    return _panel(
        f"{info.name}{f' ({info.unit})' if info.unit else ''}",
        _told(evidence, incident),
        ys,
        xs,
        behind,
        _stroke("value", line),
    )


def _told(evidence: MetricEvidence | None, incident: IncidentMark | None) -> str:
    if evidence is None or incident is None:
        return ""
    at_ms = incident.opened_ms if incident.evidence_ms is None else incident.evidence_ms
    when = "opening" if at_ms == incident.opened_ms else moment(at_ms)
    return f"at {when} {moved(evidence)}"


def _panel(name: str, note: str, ys: ValueScale, xs: TimeScale, behind: str, line: str) -> str:
    right = xs.left + xs.width
    return (
        f'<rect class="panel" x="{xs.left}" y="{ys.top}" width="{xs.width}" height="{ys.height}"/>'
        f'<text class="name" x="{xs.left}" y="{ys.top - 6}">{text(name)}'
        f'<tspan class="note" dx="8">{text(note)}</tspan></text>'
        f'<text class="tick" x="{xs.left - 6}" y="{ys.top + 9}" text-anchor="end">{number(ys.high)}</text>'
        f'<text class="tick" x="{xs.left - 6}" y="{ys.top + ys.height}" text-anchor="end">{number(ys.low)}</text>'
        f'{behind}{line}<path class="axis" d="M{xs.left} {ys.top + ys.height}H{right}"/>'
    )


def _events(episode: Episode, xs: TimeScale, height: float) -> str:
    marks: list[tuple[int, str, str]] = []
    if episode.label:
        label, missed = episode.label, "" if episode.label.found_by else ", missed"
        marks += [(label.start_ms, "onset", f"label starts{missed}"), (label.end_ms, "onset", "label ends")]
    if episode.incident:
        mark = episode.incident
        late = " at recovery" if mark.is_recovery else ""
        marks.append((mark.opened_ms, "opened", f"{mark.priority if mark.escalated_ms is None else 'P2'} opened{late}"))
        if mark.escalated_ms is not None:
            marks.append((mark.escalated_ms, "opened", "P1"))
        if mark.resolved_ms is not None:
            marks.append((mark.resolved_ms, "resolved", "resolved"))
    parts = []
    ends = [-1e9] * 3  # where the text of each line of captions ends
    for ms, kind, name in sorted(marks):
        x = xs.x(ms)
        wide = 6.2 * len(name) + 8
        side = -1 if x + wide > xs.left + xs.width else 1
        begin = x if side == 1 else x - wide
        line = next((i for i, end in enumerate(ends) if begin > end), len(ends) - 1)
        ends[line] = begin + wide
        parts.append(f'<path class="event {kind}" d="M{x:.1f} {4 + 9 * line}V{height - 14}"/>')
        anchor = "start" if side == 1 else "end"
        parts.append(
            f'<text class="caption {kind}" x="{x + 3 * side:.1f}" y="{10 + 9.5 * line}" '
            f'text-anchor="{anchor}">{text(name)}</text>'
        )
    return "".join(parts)


def _step_ms(trace: ServerTrace) -> float:
    return float(np.median(np.diff(trace.times_ms))) if len(trace.times_ms) > 1 else 60_000.0


def _stroke(name: str, path: str) -> str:
    return f'<path class="line {name}" transform="scale(.1)" d="{path}"/>' if path else ""


def _area(name: str, path: str) -> str:
    return f'<path class="{name}" transform="scale(.1)" d="{path}"/>' if path else ""
