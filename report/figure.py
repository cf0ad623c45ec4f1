"""One static picture of a replay, for the README: the fleet's timeline and one incident from close up."""

from pathlib import Path

from report.data import ReportData
from report.drawing import text
from report.page import episodes, outcome
from report.panels import WIDTH as CLOSE_UP_WIDTH
from report.panels import Episode, close_up
from report.style import COLOURS, SHAPES
from report.timeline import WIDTH, fleet_timeline

_AIR = 18
_MOST_ROWS = 16


def picture(path: Path, data: ReportData) -> None:
    """Write one SVG file; it follows the reader's light or dark setting, and needs nothing else.

    Raises:
        OSError: The folder cannot be written.
    """
    path.write_text(render(data), encoding="utf-8")


def render(data: ReportData) -> str:
    """The picture as text."""
    timeline, hidden = fleet_timeline(data, {}, most_rows=_MOST_ROWS)
    top = 58.0
    parts = [_placed(timeline, _AIR, top, WIDTH)]
    top += _height(timeline) + 34
    told = _most_telling(data)
    if told is not None:
        trace = next(t for t in data.traces if t.server_id == told.server_id)
        drawing = close_up(data, trace, told, columns=420)
        if drawing.startswith("<svg"):
            kind = told.label.kind.replace("_", " ") if told.label and told.label.kind else "incident"
            parts.append(f'<text class="heading" x="{_AIR}" y="{top:.0f}">{text(told.server_id)}: {text(kind)}</text>')
            parts.append(_placed(drawing, _AIR, top + 10, WIDTH))
            top += 10 + _height(drawing) * WIDTH / CLOSE_UP_WIDTH + 10
    more = f" · {hidden} quieter servers not drawn" if hidden else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * _AIR} {top:.0f}" role="img" '
        f'aria-label="{text(data.title)}"><style>{COLOURS}{SHAPES}.heading{{font-size:17px!important;font-weight:650;'
        f"fill:var(--ink)!important}}.paper{{fill:var(--card)}}</style>"
        f'<rect class="paper" width="100%" height="100%" rx="12"/>'
        f'<text class="heading" x="{_AIR}" y="28">{text(data.title)}</text>'
        f'<text x="{_AIR}" y="46">{text(data.subtitle)}{more}</text>{"".join(parts)}</svg>'
    )


def _most_telling(data: ReportData) -> Episode | None:
    """A found incident, P1 first, of a length that can be read: neither minutes nor days."""
    found = [e for e in episodes(data) if e.incident and e.label and outcome(e) in ("onset", "later")]

    def awkwardness(episode: Episode) -> tuple[bool, float]:
        assert episode.incident is not None and episode.label is not None  # noqa: S101, PT018 - filtered above
        hours = (episode.label.end_ms - episode.label.start_ms) / 3_600_000
        return episode.incident.priority != "P1", abs(hours - 1.5)

    return min(found, key=awkwardness, default=None)


def _height(svg: str) -> float:
    return float(svg.split('viewBox="', 1)[1].split('"', 1)[0].split()[3])


def _placed(svg: str, x: float, y: float, width: float) -> str:
    box = svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
    height = float(box[3]) * width / float(box[2])
    return svg.replace("<svg ", f'<svg x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" ', 1)
