"""`treeline shadow report`: what would have paged, and what a page budget would have made of it."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cli.deployment import WHERE, DeployedStage, add_profile, add_stage, reaching
from cli.shadow_screen import show
from cli.times import moment_ms, wide_console
from demo.incident_files import IncidentFolder
from training.evaluate.calibrate import Budget
from training.evaluate.shadow_report import DAY_MS, shadow_report
from treeline.app.explain.incident_source import IncidentSource
from treeline.aws.ingest.servers import server_count
from treeline.core.alert import Alert
from treeline.core.errors import UsageError
from treeline.settings import outputs

_EXAMPLES = f"""examples:
  treeline shadow report --stage prod
  treeline shadow report --days 28 --budget "1 P1 and 2 P2 per server-month" --json
  treeline shadow report --days 2 --until 2026-10-31T00:00 --stage local

A stage with `paging: shadow` (config/<stage>.yaml) detects, stores and measures like any other and tells nobody. The
report counts its pages: P1, and P1 and P2 together; an event of many servers is one page. A budget is written and read
as `treeline calibrate` does, and the report names the severity from which on pages would have kept to it.
{WHERE}
Exit codes: 0 done, 1 not reachable, 2 wrong use."""


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
    add_profile(report)


def run(args: argparse.Namespace, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> int:
    """Count and show."""
    if not args.days > 0:
        raise UsageError(f"--days must be above 0, got {args.days:g}")
    if args.budget is not None:
        Budget.parse(args.budget, servers=1)  # refused before anything is asked
    if args.run is not None:
        folder = IncidentFolder(args.run)
        start_ms, end_ms = folder.watched()
        incidents, labels, servers = folder.incidents(), {}, folder.server_count()
        step_ms = _step_ms(folder, incidents)
    else:
        end_ms = args.until if args.until is not None else clock_ms()
        start_ms = round(end_ms - args.days * DAY_MS)
        with reaching(DeployedStage.of(args)) as deployment:
            servers = server_count(deployment.client("dynamodb"), deployment.output(outputs.SERVERS_TABLE))
            incidents, labels = deployment.incidents.between(start_ms, end_ms), deployment.controls.labels()
            step_ms = _step_ms(deployment.source, incidents)
    report = shadow_report(
        incidents,
        labels,
        start_ms=start_ms,
        end_ms=end_ms,
        servers=servers,
        step_ms=step_ms,
        by_wall_clock=args.run is None,  # a run is a replay
        budget=None if args.budget is None else Budget.parse(args.budget, servers=max(servers, 1)),
    )
    if args.json:
        print(json.dumps(report.to_json()))
    else:
        show(report, wide_console())
    return 0


def _step_ms(source: IncidentSource, incidents: Mapping[str, Sequence[Alert]]) -> int:
    """The sampling step of the model that found the last incident; without incidents nothing depends on it."""
    if not incidents:
        return 1
    latest = max((alerts[-1] for alerts in incidents.values()), key=lambda alert: alert.clocks.observed_at)
    return source.package(latest.model_version).step_ms
