"""An explanation on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from treeline.app.explain.incident_source import ScoredPath
from treeline.app.explain.moment import ChannelReading, QuietMoment
from treeline.app.explain.rarity import how_rare
from treeline.app.explain.service import Explanation
from treeline.app.explain.wanting import FARTHEST_SD
from treeline.core.alert import MetricEvidence
from treeline.core.detection.features import FAR_BANDS, FEWEST_AGREEING
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY
from treeline.core.times import iso, parse_iso
from treeline.core.wording import moved

_BARS = " ▁▂▃▄▅▆▇█"
# "score" is also a channel: how far the forest's score is from the usual, in standard deviations
_NAMES = {"score": "forest's score", "threshold": "its threshold", "fleet_level": "fleet level"}
_WIDTH = 60  # characters of the path
_NEIGHBOURS = 5  # observations shown on either side of the opening


def show(explanation: Explanation, console: Console) -> None:
    """Print it, the answer first."""
    opening = explanation.opening
    state = "still open" if explanation.is_open else "resolved"
    console.print(
        f"[bold]{opening.priority} {escape(opening.server_id)}[/], severity {opening.severity:.2f}, {state}; "
        f"first anomalous {_time(opening.clocks.first_anomalous_at)}, opened {_time(opening.clocks.observed_at)}, "
        f"model {escape(opening.model_version)}"
    )
    if explanation.prevention:
        console.print(f"  [green]{escape(explanation.prevention)}[/]")
    for found in explanation.counterfactuals:
        if found.delay is not None:
            console.print(f"  [yellow]{escape(str(found))}[/]")
            continue
        checked = "checked by scoring again" if found.is_verified else "NOT confirmed by scoring again"
        until = _time(iso(found.until))
        console.print(f"  [green]{escape(str(found))}[/] (severity {found.severity:.2f}; {checked} until {until})")
    _told(explanation.metrics, console)
    _rule(explanation, console)
    _path(explanation.path, parse_iso(opening.clocks.observed_at), "opened", console)
    _calibration(explanation.calibration, console)
    _events(explanation, console)
    if explanation.forest:
        console.print(f"forest: {escape(explanation.forest)}", style="dim")
    for note in explanation.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
    _reproduction(explanation, console)


def show_moment(moment: QuietMoment, console: Console) -> None:
    """Print why nothing paged, the answer first."""
    severity = (
        "not scored"
        if np.isnan(moment.severity)
        else f"severity {moment.severity:.2f}, forest's score {moment.score:.4f}"
    )
    console.print(
        f"[bold]{escape(moment.server_id)}[/] did not page at {_time(iso(moment.observed_at))}: {severity}, "
        f"model {escape(moment.model_version)}"
    )
    for reason in moment.why:
        console.print(f"  [yellow]{escape(reason)}[/]")
    for each in moment.wanting:
        console.print(f"  [green]would have paged: {escape(str(each))}[/]")
    for unable in moment.out_of_reach:
        console.print(f"  [green]{escape(str(unable))}[/]")
    if moment.channels and not moment.wanting:
        console.print(
            f"  [green]no metric alone would have paged, up to {FARTHEST_SD:g} sd beyond what was measured[/]"
        )
    _told(moment.metrics, console)
    if moment.channels:
        console.print(_channels(moment.channels))
    counted = ", ".join(f"{_time(iso(at))} ({severity:.2f})" for at, severity in moment.last)
    console.print(f"rule: {moment.policy.needed} of the last {moment.policy.of_last} at P2 or above: {counted}")
    _path(moment.path, moment.observed_at, "asked", console)
    for note in moment.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")


def _channels(channels: Sequence[ChannelReading]) -> Table:
    table = Table("channel", "measured", "P2 from", "P1 above", "", "", box=None, header_style="dim")
    for channel in channels:
        short = channel.p2 - channel.measure
        said = "off on this server" if channel.is_gated else "reached" if short <= 0 else f"short by {short:.2f}"
        rare = "" if channel.rarity is None else how_rare(channel.rarity)
        table.add_row(channel.name, f"{channel.measure:.2f}", f"{channel.p2:.4g}", f"{channel.p1:.4g}", said, rare)
    return table


def _told(metrics: Sequence[MetricEvidence], console: Console) -> None:
    """What lies outside a band in words, then all metrics as a table."""
    for metric in metrics:
        if metric.is_outside:
            console.print(f"  {escape(moved(metric))}", style="bold")
    if metrics:
        console.print(_metrics(metrics))


def _metrics(metrics: Sequence[MetricEvidence]) -> Table:
    table = Table("metric", "measured", "expected", "band", "others imply", "band", box=None, header_style="dim")
    for metric in metrics:
        is_implied = metric.implied is not None
        unit = f" {metric.unit}" if metric.unit else ""
        table.add_row(
            escape(metric.name),
            "missing" if metric.measured is None else f"{metric.measured:.4g}{unit}",
            f"{metric.expected:.4g}{unit}",
            f"{metric.low:.4g} to {metric.high:.4g}",
            f"{metric.implied:.4g}{unit}" if is_implied else "",
            f"{metric.implied_low:.4g} to {metric.implied_high:.4g}" if is_implied else "",
            style="bold" if metric.is_outside else "",
        )
    return table


def _rule(explanation: Explanation, console: Console) -> None:
    rule = explanation.persistence
    if rule is None:
        return
    if rule.is_alone:
        (at, severity, _), *_ = rule.observations
        console.print(
            f"rule: one observation is enough at severity >= {rule.tier:g} ({rule.priority}) where {FEWEST_AGREEING} "
            f"metrics or more lie {FAR_BANDS:g} times as far out as their band: {_time(iso(at))} ({severity:.2f})"
        )
        return
    sign = ">" if rule.priority == "P1" else ">="
    counted = ", ".join(f"{_time(iso(at))} ({severity:.2f})" for at, severity, yes in rule.observations if yes)
    console.print(
        f"rule: {rule.needed} of the last {rule.of_last} observations at severity {sign} {rule.tier:g} "
        f"({rule.priority}): {counted}"
    )


def _path(scored: ScoredPath, at: int, name: str, console: Console) -> None:
    """Severities around a moment, which is marked by `name`."""
    path = scored.decided()
    if not len(path.observed_at):
        return
    first, last = iso(int(path.observed_at[0])), iso(int(path.observed_at[-1]))
    console.print(f"severity {_time(first)} to {_time(last)}; a full bar is {P1_SEVERITY:g} or more:")
    line, mark = _sparkline(path.observed_at, path.severity.astype(np.float64), at)
    console.print(f"  {line}\n  {' ' * mark}^ {name}")
    table = Table("observed", "forest's score", "severity", "", box=None, header_style="dim")
    centre = int(np.searchsorted(path.observed_at, at))
    for i in range(max(0, centre - _NEIGHBOURS), min(len(path.observed_at), centre + _NEIGHBOURS + 1)):
        severity = float(path.severity[i])
        tier = "P1" if severity > P1_SEVERITY else "P2" if severity >= P2_SEVERITY else ""
        here = f"  <- {name}" if int(path.observed_at[i]) == at else ""
        table.add_row(_time(iso(int(path.observed_at[i]))), f"{path.score[i]:.4f}", f"{severity:.2f}", tier + here)
    console.print(table)


def _sparkline(times: Any, severity: Any, at: int) -> tuple[str, int]:
    """The largest severity of each of equal stretches, 0 to P1 and beyond over eight heights; and where `at` is."""
    edges = np.linspace(float(times[0]), float(times[-1]) + 1.0, _WIDTH + 1)
    column = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, _WIDTH - 1)
    heights = np.full(_WIDTH, -1.0)
    np.maximum.at(heights, column, np.nan_to_num(severity))
    top = len(_BARS) - 1
    line = "".join(
        " " if height < 0 else _BARS[min(top, 1 + int(height / P1_SEVERITY * (top - 1)))] for height in heights
    )
    return line, int(np.clip(np.searchsorted(edges, at, side="right") - 1, 0, _WIDTH - 1))


def _calibration(calibration: Mapping[str, Any], console: Console) -> None:
    values = [
        f"{_NAMES.get(name, name)} {value:.4g}"
        for name, value in calibration.items()
        if isinstance(value, int | float) and name != "rarity"
    ]
    if values:
        console.print(f"calibration: {', '.join(values)}")
    if "override" in calibration:
        console.print(f"thresholds or rule overridden by {calibration['override']} (treeline threshold list)")
    if "channel" in calibration:
        rare = f", {calibration['how_rare']}" if "how_rare" in calibration else ""
        console.print(f"decided by the channel {calibration['channel']}: {calibration['meaning']}{rare}")
    if calibration.get("held_back"):
        console.print(escape(calibration["held_back"]["text"]))
    measures = calibration.get("measures", {})
    for name, body in calibration.get("thresholds", {}).items():
        if isinstance(body, Mapping) and "p2" in body:  # the rest are the score's own figures and its rule
            measured = f"measured {measures[name]:.3g}, " if name in measures else ""
            console.print(f"  channel {name}: {measured}p2 {body['p2']:g}, p1 {body['p1']:g}", style="dim")


def _events(explanation: Explanation, console: Console) -> None:
    for alert in explanation.alerts:
        told = f"told nobody ({alert.suppressed})" if alert.suppressed else ""
        by = f"mute {alert.muted_by}" if alert.muted_by else ""
        extra = "; ".join(filter(None, [told, by]))
        console.print(
            f"  {_time(alert.clocks.observed_at)} {alert.event} {alert.priority} severity {alert.severity:.2f}"
            + (f"  [dim]{escape(extra)}[/]" if extra else "")
        )


def _reproduction(explanation: Explanation, console: Console) -> None:
    reproduction = explanation.reproduction
    if reproduction is None:
        return
    for part in reproduction.parts:
        verdict = "[green]equal[/]" if part.is_equal else "[bold red]DIFFERENT[/]"
        console.print(f"reproduced: {part.equal:,} of {part.count:,} {part.what} {verdict}, from {escape(part.source)}")
    for note in reproduction.notes:
        console.print(f"  [dim]{escape(note)}[/]")
    answer = "[bold green]equal, bit for bit[/]" if reproduction.is_equal else "[bold red]not equal[/]"
    console.print(f"reproduction: {answer if reproduction.parts else '[bold red]nothing left to rebuild it from[/]'}")


def _time(text: str) -> str:
    return f"{text[:19].replace('T', ' ')}Z"
