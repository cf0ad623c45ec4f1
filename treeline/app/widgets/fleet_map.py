"""The map of the fleet as a custom widget shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from treeline.app.widgets.html import COLOURS, page
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY

_CELL = 13  # pixels
_GAP = 2
_WORDS = {
    "p1": "P1",
    "p2": "P2",
    "raised": "severity above 0.75",
    "quiet": "as expected",
    "warming": "warming up",
    "silent": "silent",
}
_RAISED = P2_SEVERITY / 2
_SHOWN_NAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """One server as the fleet map shows it."""

    server_id: str
    severity: float
    is_warming_up: bool = False
    is_silent: bool = False
    has_incident: bool = False

    @property
    def condition(self) -> str:
        """One of the map's conditions; silence hides what was last known."""
        if self.is_silent:
            return "silent"
        if self.is_warming_up:
            return "warming"
        if self.severity > P1_SEVERITY:
            return "p1"
        if self.severity >= P2_SEVERITY:
            return "p2"
        return "raised" if self.severity >= _RAISED else "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """The servers that are scored together, and what they do together (`cycle_level`: their median severity)."""

    number: int
    servers: Sequence[ServerView]
    cycle_level: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """The fleet at one moment; `expected` counts every server that ever registered."""

    expected: int
    groups: Sequence[GroupView] = field(default_factory=list)
    model_version: str = ""

    def servers(self) -> list[ServerView]:
        """All servers the detector has met."""
        return [server for group in self.groups for server in group.servers]


def fleet_html(fleet: FleetView) -> str:
    """The census in one line, silent servers by name, and a map of one cell a server, one row a group."""
    servers = fleet.servers()
    if not servers:
        why = "No model is active yet." if not fleet.model_version else "The detector has met no server yet."
        return page(f"<p>{why} Servers registered: {fleet.expected}.</p>")
    silent = [s.server_id for s in servers if s.is_silent]
    warming = sum(s.condition == "warming" for s in servers)
    open_incidents = sum(s.has_incident for s in servers)
    parts = [
        f"<b>{fleet.expected}</b> expected",
        f"<b>{len(servers) - len(silent)}</b> reporting",
        f"<b>{warming}</b> warming up",
        f"<b>{len(silent)}</b> silent",
        f"<b>{open_incidents}</b> in an incident",
    ]
    names = ", ".join(escape(name) for name in sorted(silent)[:_SHOWN_NAMES])
    if len(silent) > _SHOWN_NAMES:
        names += f" and {len(silent) - _SHOWN_NAMES} more"
    told = f"<p>Silent: {names}</p>" if silent else ""
    return page(f"<p>{' &middot; '.join(parts)}</p>{told}{_legend()}{_map(fleet.groups)}")


def _legend() -> str:
    shown = "".join(
        f'<span style="margin-right:12px"><span style="display:inline-block;width:10px;height:10px;'
        f'background:{COLOURS[key]}"></span> {word}</span>'
        for key, word in _WORDS.items()
    )
    return f"<p>{shown}</p>"


def _map(groups: Sequence[GroupView]) -> str:
    step = _CELL + _GAP
    widest = max(len(group.servers) for group in groups)
    rows = []
    for row, group in enumerate(groups):
        top = row * step
        rows.append(f'<text x="0" y="{top + 11}" font-size="10" fill="#687078">{group.number}</text>')
        for column, server in enumerate(group.servers):
            colour = COLOURS[server.condition]
            edge = ' stroke="#000" stroke-width="2"' if server.has_incident else ""
            title = f"{escape(server.server_id)}: {_WORDS[server.condition]}, severity {server.severity:.1f}"
            rows.append(
                f'<rect class="server" x="{24 + column * step}" y="{top}" width="{_CELL}" height="{_CELL}" '
                f'fill="{colour}"{edge}><title>{title}</title></rect>'
            )
        level = f"group {group.number}: median severity {group.cycle_level:.2f}"
        rows.append(
            f'<text x="{30 + widest * step}" y="{top + 11}" font-size="10" fill="#687078">'
            f"{group.cycle_level:.2f}<title>{level}</title></text>"
        )
    width, height = 70 + widest * step, len(groups) * step + 4
    return f'<svg viewBox="0 0 {width} {height}" width="100%" style="max-width:{width}px">{"".join(rows)}</svg>'
