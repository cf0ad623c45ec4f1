"""One widget as HTML and SVG, self-contained. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from emulator.dashboard.data import Line, Shown

_COLOURS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b"),
    *("#e377c2", "#17becf", "#bcbd22", "#7f7f7f", "#d62728"),
)
_WIDTH, _HEIGHT = 480, 150
_LEFT, _BOTTOM, _TOP = 44, 18, 8
_STATES = {"OK": "ok", "ALARM": "alarm", "INSUFFICIENT_DATA": "unknown"}
_TOLD_STATES = {"OK": "no:", "ALARM": "YES:", "INSUFFICIENT_DATA": "not known yet:"}  # alarms are questions


def widget_html(shown: Shown) -> str:
    """The widget's box, placed on the grid of 24 columns."""
    widget = shown.widget
    place = f"grid-column:{widget.x + 1}/span {widget.width};grid-row:{widget.y + 1}/span {widget.height}"
    state = "empty" if shown.note else "live"
    title = f"<h3>{escape(widget.title)}</h3>" if widget.title else ""
    return (
        f'<section class="widget {widget.kind}" data-title="{escape(widget.title)}" data-state="{state}" '
        f'style="{place}">{title}{_content(shown)}</section>'
    )


def _content(shown: Shown) -> str:
    if shown.note:
        return f'<p class="note">{escape(shown.note)}</p>'
    match shown.widget.kind:
        case "text":
            return f"<p>{_markdown(shown.widget.content)}</p>"
        case "custom":
            return f'<div class="custom">{shown.html}</div>'
        case "alarm":
            return _alarms(shown.alarms)
        case "number":
            return _numbers(shown.lines)
        case _:
            return _chart(shown)


def _markdown(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _alarms(alarms: Sequence[tuple[str, str, str]]) -> str:
    order = {"ALARM": 0, "INSUFFICIENT_DATA": 1, "OK": 2}
    cells = "".join(
        f'<div class="state {_STATES.get(state, "unknown")}" title="{escape(name)}">'
        f"<small>{_TOLD_STATES.get(state, state)}</small> {escape(question or name)}</div>"
        for name, state, question in sorted(alarms, key=lambda a: (order.get(a[1], 1), a[0]))
    )
    return f'<div class="alarms">{cells}</div>'


def _numbers(lines: Sequence[Line]) -> str:
    cells = "".join(
        f'<div class="figure"><b>{_told(line.points[-1][1]) if line.points else "-"}</b> {escape(line.label)}</div>'
        for line in lines
    )
    return f'<div class="figures">{cells}</div>'


def _chart(shown: Shown) -> str:
    lines = [line for line in shown.lines if line.points]
    top = max(value for line in lines for _, value in line.points)
    near = [value for value, _ in shown.widget.lines if value <= 4 * top or top == 0]
    top = max([top, *near]) * 1.08 or 1.0
    span = max(shown.end - shown.start, 1.0)

    def x(at: float) -> float:
        return _LEFT + (at - shown.start) / span * (_WIDTH - _LEFT - 4)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - max(value, 0.0) / top * (_HEIGHT - _BOTTOM - _TOP)

    parts = []
    for fraction in (0.0, 0.5, 1.0):
        value = top * fraction
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="grid"/>'
            f'<text x="{_LEFT - 4}" y="{y(value) + 3:.1f}" text-anchor="end">{_told(value)}</text>'
        )
    for fraction in (0.0, 0.5, 1.0):
        at = shown.start + span * fraction
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[fraction]
        label = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
        parts.append(f'<text x="{x(at):.1f}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{label}</text>')
    parts += [
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="threshold"/>'
        for value in near
    ]
    for index, line in enumerate(lines):
        colour = _COLOURS[index % len(_COLOURS)]
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line.points)
        if len(line.points) > 1:
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        at, value = line.points[-1]
        parts.append(f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour}"/>')
    legend = "".join(
        f'<span><i style="background:{_COLOURS[i % len(_COLOURS)]}"></i>{escape(line.label)} '
        f"<b>{_told(line.points[-1][1])}</b></span>"
        for i, line in enumerate(lines[:10])
    )
    unit = f'<span class="unit">{escape(shown.widget.unit)}</span>' if shown.widget.unit else ""
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">{"".join(parts)}</svg>'
        f'<div class="legend">{legend}{unit}</div>'
    )


def _told(value: float) -> str:
    if value == 0 or 0.01 <= abs(value) < 1e5:
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.2e}"
