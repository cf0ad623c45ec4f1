"""A shadow report on the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from report.quality_table import tables
from training.evaluate.against_alarms import AlarmComparison, IncidentEpisode, SharedTrouble, TierComparison
from training.evaluate.judge import TierQuality
from training.evaluate.pages import Tier
from training.evaluate.shadow_report import DAY_MS, ShadowReport
from training.history.cloudwatch.alarm_history import AlarmEpisode
from treeline.core.times import iso

_ROWS = 10
_EXAMPLES = 3


def show(report: ShadowReport, console: Console) -> None:
    """Pages, whom they were about, and what a budget makes of them."""
    days, months = (report.end_ms - report.start_ms) / DAY_MS, report.server_months
    p1, every = report.pages[Tier.P1], report.pages[Tier.ALL]
    rate = f"; {p1 / months:.2f} and {every / months:.2f} a server-month" if months else ""
    console.print(f"{days:.3g} days, {report.servers} servers: {p1} P1 pages, {every} P1 and P2 together{rate}")
    told = sum(not incident.suppressed for incident in report.incidents)
    if report.incidents:
        console.print(
            f"  of {len(report.incidents)} incidents: {told} told, {len(report.incidents) - told} stored only "
            "(shadow or muted)"
        )
    said = [incident.is_incident for incident in report.incidents if incident.is_incident is not None]
    if said:
        console.print(f"  people say of {len(said)}: {sum(said)} incidents, {len(said) - sum(said)} none")
    for title, rows in (("server", report.by_server()), ("metric", report.by_metric())):
        if not rows:
            continue
        table = Table(title, "P1", "P2", box=None, header_style="dim")
        for name, first, second in rows[: _shown(len(rows))]:
            table.add_row(escape(name), str(first), str(second))
        console.print(table)
        _say_rest(len(rows), f"{title}s", console)
    for fit in report.fits:
        console.print(
            f"budget {fit.tier}: {fit.allowed:.2g} pages allowed, {fit.pages} would have been sent; "
            f"from severity {fit.severity_at_least:.2f} on: {fit.kept}"
        )


def show_quality(quality: Mapping[Tier, TierQuality], console: Console) -> None:
    """What the pages were worth, with the columns of `treeline quality`."""
    if not quality:
        console.print("no labelled incidents: nothing to judge the pages by")
        return
    console.print()
    for table in tables({"labelled": quality}, named="days"):
        console.print(table)
    outside = quality[Tier.ALL].labels_outside
    if outside:
        console.print(f"  labels left out, as nothing was observed of their server then: {outside}", style="dim")


def show_alarms(comparison: AlarmComparison, console: Console) -> None:
    """Incidents beside CloudWatch's alarms: in numbers, by server, by example, and what was left out."""
    console.print()
    names = ("incidents", "both", "only ours", "alarms", "only theirs", "we first", "they first", "lead")
    table = Table("pages", *names, title="Beside CloudWatch's alarms", title_justify="left", box=None)
    for tier, found in comparison.tiers.items():
        counts = (
            len(found.both) + len(found.only_ours),
            len(found.both),
            len(found.only_ours),
            len(found.alarms_in_both) + len(found.only_theirs),
            len(found.only_theirs),
            found.ours_first,
            found.theirs_first,
        )
        lead = "-" if found.lead_p50_s is None else f"{found.lead_p50_s / 60:+.1f} min"
        table.add_row(tier.value, *map(str, counts), lead)
    console.print(table)
    every = comparison.tiers[Tier.ALL]
    _by_server(every, console)
    _examples("both", [_in_common(shared) for shared in every.both], console)
    _examples("only ours", [_ours(incident) for incident in every.only_ours], console)
    _examples("only theirs", [_theirs(alarm) for alarm in every.only_theirs], console)
    _left_out(comparison, console)


def _by_server(found: TierComparison, console: Console) -> None:
    rows = found.by_server()
    if not rows:
        return
    table = Table("server", "both", "only ours", "only theirs", box=None, header_style="dim")
    for name, *counts in rows[: _shown(len(rows))]:
        table.add_row(escape(name), *map(str, counts))
    console.print(table)
    _say_rest(len(rows), "servers", console)


def _shown(count: int) -> int:
    """How many of so many rows are shown; one more than usual where the line about the rest would take its place."""
    return count if count <= _ROWS + 1 else _ROWS


def _say_rest(count: int, what: str, console: Console) -> None:
    if rest := count - _shown(count):
        console.print(f"  and {rest:,} more ({what})", style="dim")


def _examples(title: str, lines: list[str], console: Console) -> None:
    for line in lines[:_EXAMPLES]:
        console.print(f"  {title}: {escape(line)}")


def _in_common(shared: SharedTrouble) -> str:
    minutes = shared.lead_s / 60
    when = f"{abs(minutes):.1f} min {'after' if minutes >= 0 else 'before'} us"
    return f"{shared.incident.opening.incident_id}, alarm {shared.alarms[0].alarm} {when}"


def _ours(incident: IncidentEpisode) -> str:
    return f"{incident.opening.incident_id} ({incident.opening.priority})"


def _theirs(alarm: AlarmEpisode) -> str:
    return f"{alarm.alarm} ({alarm.server_id}), {iso(alarm.start_ms)}"


def _left_out(comparison: AlarmComparison, console: Console) -> None:
    history = comparison.history
    if history.unmapped:
        console.print(f"  alarms that rang and are of no server: {len(history.unmapped)}", style="dim")
        for name, reason in list(history.unmapped.items())[:_ROWS]:
            console.print(f"    {escape(name)}: {reason}", style="dim")
        if len(history.unmapped) > _ROWS:
            console.print(f"    and {len(history.unmapped) - _ROWS} more; --json has them all", style="dim")
    if history.composite:
        console.print(f"  composite alarms left out, as they combine others: {len(history.composite)}", style="dim")
    if comparison.fleet_incidents:
        fleet = comparison.fleet_incidents
        console.print(f"  incidents of the whole fleet left out, as they name no server: {fleet}", style="dim")
