"""`treeline shadow report`: what would have paged, and what a page budget would have made of it."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.deployment import WHERE, DeployedStage, add_stage, reaching
from cli.times import moment_ms, wide_console
from demo.incident_files import IncidentFolder
from training.evaluate.calibrate import Budget as PageBudget
from treeline.app.alert.shadow_report import DAY_MS, MONTH_DAYS, MonthlyBudget, ShadowReport, shadow_report
from treeline.aws.ingest.servers import server_count
from treeline.core.alert import Priority
from treeline.core.errors import UsageError
from treeline.settings import outputs

_EXAMPLES = f"""examples:
  treeline shadow report --stage prod
  treeline shadow report --days 28 --budget "1 P1 and 2 P2 per server-month" --json
  treeline shadow report --days 2 --until 2026-10-31T00:00 --stage local

A stage with `paging: shadow` (config/<stage>.yaml) detects, stores and measures like any other and tells nobody. The
report counts its incidents; a budget is written as `treeline calibrate` reads it, and the report names the severity
from which on pages would have kept to it.
{WHERE}
Exit codes: 0 done, 1 not reachable, 2 wrong use."""
_ROWS = 10


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-command."""
    parser.description = "Shadow mode: the page rate before anybody is paged."
    parser.epilog = _EXAMPLES
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="report")
    report = verbs.add_parser("report", help="what would have paged over the last days")
    report.add_argument("--days", type=float, default=7.0, help="how many (default: %(default)g)")
    report.add_argument("--until", type=moment_ms, metavar="TIME", help="up to this event time (default: now)")
    report.add_argument(
        "--budget",
        type=str,
        metavar="TEXT",
        help="pages that shall be allowed, such as '1 P1 and 2 P2 per server-month'",
    )
    report.add_argument("--run", type=Path, metavar="DIR", help="a run's folder instead of a deployed stage")
    add_stage(report)


def run(args: argparse.Namespace, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> int:
    """Count and show."""
    if not args.days > 0:
        raise UsageError(f"--days must be above 0, got {args.days:g}")
    if args.budget is not None:
        PageBudget.parse(args.budget, servers=1)  # refused before anything is asked
    if args.run is not None:
        folder = IncidentFolder(args.run)
        start_ms, end_ms = folder.watched()
        incidents, labels, servers = folder.incidents(), {}, folder.server_count()
    else:
        end_ms = args.until if args.until is not None else clock_ms()
        start_ms = round(end_ms - args.days * DAY_MS)
        with reaching(DeployedStage.of(args)) as deployment:
            servers = server_count(deployment.client("dynamodb"), deployment.output(outputs.SERVERS_TABLE))
            incidents, labels = deployment.incidents.between(start_ms, end_ms), deployment.controls.labels()
    budget = _budget(args.budget, servers)
    report = shadow_report(incidents, labels, start_ms=start_ms, end_ms=end_ms, servers=servers, budget=budget)
    if args.json:
        print(json.dumps(report.to_json()))
    else:
        _show(report, wide_console())
    return 0


def _budget(text: str | None, servers: int) -> MonthlyBudget | None:
    """A page budget as `treeline calibrate` reads it, per server-month."""
    if text is None:
        return None
    asked = PageBudget.parse(text, servers=max(servers, 1))
    return MonthlyBudget(p1=asked.p1 * MONTH_DAYS, p2=asked.p2 * MONTH_DAYS)


def _show(report: ShadowReport, console: Console) -> None:
    days, months = (report.end_ms - report.start_ms) / DAY_MS, report.server_months
    p1, p2 = report.count(Priority.P1), report.count(Priority.P2)
    rate = f"; {p1 / months:.2f} P1 and {p2 / months:.2f} P2 per server-month" if months else ""
    console.print(f"{days:.3g} days, {report.servers} servers: {p1} P1 and {p2} P2 pages{rate}")
    told = sum(not page.suppressed for page in report.pages)
    if report.pages:
        console.print(f"  {told} of them told, {len(report.pages) - told} stored only (shadow or muted)")
    said = [page.is_incident for page in report.pages if page.is_incident is not None]
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
