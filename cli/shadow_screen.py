"""A shadow report on the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.evaluate.pages import Tier
from training.evaluate.shadow_report import DAY_MS, ShadowReport

_ROWS = 10


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
        for name, first, second in rows[:_ROWS]:
            table.add_row(escape(name), str(first), str(second))
        console.print(table)
        if len(rows) > _ROWS:
            console.print(f"  and {len(rows) - _ROWS} more ({title}s)", style="dim")
    for fit in report.fits:
        console.print(
            f"budget {fit.tier}: {fit.allowed:.2g} pages allowed, {fit.pages} would have been sent; "
            f"from severity {fit.severity_at_least:.2f} on: {fit.kept}"
        )
