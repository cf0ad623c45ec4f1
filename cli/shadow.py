"""`treeline shadow report`: what would have paged, what it was worth, and what CloudWatch's alarms said meanwhile."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.deployment import WHERE, DeployedStage, add_profile, add_stage, reaching
from cli.shadow_screen import show, show_alarms, show_quality
from cli.times import moment_ms
from demo.incident_files import IncidentFolder
from report.console import wide_console
from training.evaluate.against_alarms import AlarmComparison, against_alarms
from training.evaluate.budget import Budget
from training.evaluate.judge import TierQuality, evaluate_tiers
from training.evaluate.pages import Tier
from training.evaluate.shadow_report import DAY_MS, opened_within, shadow_report
from training.evaluate.stage_servers import RegisteredServer, observed_servers, registered_servers
from training.evaluate.stored_incidents import openings
from training.history.cloudwatch.alarm_history import HISTORY_DAYS, LOOKBACK_MS, read_alarm_history, server_names
from training.history.incidents import read_incidents
from treeline.app.alert.controls import IncidentLabel
from treeline.app.explain.incident_source import IncidentSource
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.core.alert import FLEET, Alert
from treeline.core.errors import UsageError
from treeline.settings import outputs

_EXAMPLES = f"""examples:
  treeline shadow report --stage prod
  treeline shadow report --days 28 --budget "1 P1 and 2 P2 per server-month" --json
  treeline shadow report --days 2 --until 2026-10-31T00:00 --stage local
  treeline shadow report --days 14 --against-alarms --alarm-prefix web- --stage prod
  treeline shadow report --days 7 --incidents incidents.csv --stage prod

A stage with `paging: shadow` (config/<stage>.yaml) detects, stores and measures like any other and tells nobody. The
report counts its pages: P1, and P1 and P2 together; an event of many servers is one page. A budget is written and read
as `treeline calibrate` does, and the report names the severity from which on pages would have kept to it.

--against-alarms sets incidents beside the alarms of the same servers and days in CloudWatch, which remembers 30 days.
An alarm is a server's when one of its dimensions is the server_id, or the server's label `instance_id`. An incident and
an alarm are of the same trouble when their times overlap or when they begin within ten minutes of each other; who was
first goes by the earliest of an incident's alarms. Treeline's own alarms and composite alarms are left out.

--incidents judges the pages by labels (server_id,start,end), as `treeline backtest` does, on what was observed; scores
say what that was, for as long as they are kept (detection.score_ttl_s, 14 days).
{WHERE}
Exit codes: 0 done, 1 not reachable, 2 wrong use."""


_DAYS = 7.0


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-command."""
    parser.description = "Shadow mode: the page rate before anybody is paged."
    parser.epilog = _EXAMPLES
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="report")
    report = verbs.add_parser("report", help="what would have paged over the last days")
    report.add_argument("--days", type=float, help=f"how many (default: {_DAYS:g})")
    report.add_argument("--until", type=moment_ms, metavar="TIME", help="up to this event time (default: now)")
    report.add_argument(
        "--budget",
        type=str,
        metavar="TEXT",
        help="pages that shall be allowed, such as '1 P1 and 2 P2 per server-month'",
    )
    report.add_argument("--incidents", type=Path, metavar="CSV", help="labelled incidents of these days")
    report.add_argument("--against-alarms", action="store_true", help="beside CloudWatch's alarms of these days")
    report.add_argument("--alarm-prefix", default="", metavar="P", help="only alarms whose names begin so")
    report.add_argument("--run", type=Path, metavar="DIR", help="a run's folder instead of a deployed stage")
    add_stage(report)
    add_profile(report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a stage or a run has to report."""

    start_ms: int
    end_ms: int
    incidents: Mapping[str, Sequence[Alert]]
    labels: Mapping[str, IncidentLabel]  # what people say
    servers: int
    step_ms: int
    quality: Mapping[Tier, TierQuality] = field(default_factory=dict)
    comparison: AlarmComparison | None = None


def run(args: argparse.Namespace, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> int:
    """Count and show."""
    now_ms = clock_ms()
    _check(args, now_ms)
    found = _of_run(args.run) if args.run is not None else _of_stage(args, now_ms)
    report = shadow_report(
        found.incidents,
        found.labels,
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        servers=found.servers,
        step_ms=found.step_ms,
        by_wall_clock=args.run is None,  # a run is a replay
        budget=None if args.budget is None else Budget.parse(args.budget, servers=max(found.servers, 1)),
    )
    if args.json:
        body = report.to_json()
        if found.quality:
            body["quality"] = {tier.value: quality.to_json() for tier, quality in found.quality.items()}
        if found.comparison is not None:
            body["against_alarms"] = found.comparison.to_json()
        print(json.dumps(body))
        return 0
    console = wide_console()
    show(report, console)
    if args.incidents is not None:
        show_quality(found.quality, console)
    if found.comparison is not None:
        show_alarms(found.comparison, console)
    return 0


def _check(args: argparse.Namespace, now_ms: int) -> None:
    """Refuse what cannot be done before anything is asked."""
    if args.run is not None and (args.days is not None or args.until is not None):
        raise UsageError(
            "--run reports all that the run covers; --days and --until choose days of a stage: leave them out"
        )
    if args.days is not None and not args.days > 0:
        raise UsageError(f"--days must be above 0, got {args.days:g}")
    if args.budget is not None:
        Budget.parse(args.budget, servers=1)
    if args.alarm_prefix and not args.against_alarms:
        raise UsageError("--alarm-prefix chooses alarms for --against-alarms; say that too")
    if args.run is not None and args.against_alarms:
        raise UsageError("a run's folder has no alarms; --against-alarms needs a stage: leave --run out, name --stage")
    if args.against_alarms and _stretch(args, now_ms)[0] < now_ms - HISTORY_DAYS * DAY_MS:
        raise UsageError(
            f"CloudWatch keeps what alarms did for {HISTORY_DAYS} days, and these days reach farther back: incidents "
            "would stand alone; choose fewer --days or a later --until"
        )
    if args.run is not None and args.incidents is not None:
        raise UsageError(
            "a run's folder does not say when each server was observed; --incidents needs a stage. "
            "`treeline demo --incidents` judges a run by the same rules"
        )


def _stretch(args: argparse.Namespace, now_ms: int) -> tuple[int, int]:
    """The days that are asked for: [start, end) in event time."""
    end_ms = args.until if args.until is not None else now_ms
    return round(end_ms - (_DAYS if args.days is None else args.days) * DAY_MS), end_ms


def _of_run(path: Path) -> _Found:
    folder = IncidentFolder(path)
    start_ms, end_ms = folder.watched()
    incidents = folder.incidents()
    return _Found(
        start_ms=start_ms,
        end_ms=end_ms,
        incidents=incidents,
        labels={},
        servers=folder.server_count(),
        step_ms=_step_ms(folder, incidents),
    )


def _of_stage(args: argparse.Namespace, now_ms: int) -> _Found:
    start_ms, end_ms = _stretch(args, now_ms)
    with reaching(DeployedStage.of(args)) as deployment:
        servers = registered_servers(deployment.client("dynamodb"), deployment.output(outputs.SERVERS_TABLE))
        # Earlier ones may reach into these days, and into their alarms.
        incidents = deployment.incidents.between(start_ms - LOOKBACK_MS, end_ms)
        step_ms = _step_ms(deployment.source, incidents)
        quality: Mapping[Tier, TierQuality] = {}
        if args.incidents is not None:
            within = opened_within(incidents, start_ms, end_ms)
            quality = _quality(args.incidents, deployment, servers, within, (start_ms, end_ms), step_ms)
        comparison = None
        if args.against_alarms:
            history = read_alarm_history(
                deployment.client("cloudwatch"),
                server_names({name: server.labels for name, server in servers.items()}),
                start_ms=start_ms,
                end_ms=end_ms,
                prefix=args.alarm_prefix,
                own_prefix=outputs.stack_name(deployment.stage, ""),  # of every profile
            )
            comparison = against_alarms(incidents, history, start_ms=start_ms, end_ms=end_ms)
        return _Found(
            start_ms=start_ms,
            end_ms=end_ms,
            incidents=incidents,
            labels=deployment.controls.labels(),
            servers=len(servers),
            step_ms=step_ms,
            quality=quality,
            comparison=comparison,
        )


def _quality(
    path: Path,
    deployment: DeployedStage,
    servers: Mapping[str, RegisteredServer],
    incidents: Mapping[str, Sequence[Alert]],
    stretch: tuple[int, int],
    step_ms: int,
) -> Mapping[Tier, TierQuality]:
    """The pages judged by labels of the same days."""
    labels = read_incidents(path, servers=servers, data_path=Path(f"stage {deployment.stage}"))
    scores = ScoreBlocks(deployment.client("dynamodb"), deployment.output(outputs.SCORES_TABLE))
    observed = observed_servers(scores, servers, start_ms=stretch[0], end_ms=stretch[1])
    opened = openings(incidents, by_wall_clock=True)
    unseen = sorted({opening.server_id for opening in opened} - set(observed) - {FLEET})
    if unseen:
        raise UsageError(
            f"{', '.join(unseen[:5])}: there are incidents and no scores any more (detection.score_ttl_s says how long "
            "they are kept); choose fewer --days"
        )
    return evaluate_tiers(labels, opened, observed=observed, step_ms=step_ms)


def _step_ms(source: IncidentSource, incidents: Mapping[str, Sequence[Alert]]) -> int:
    """The sampling step of the model that found the last incident; without incidents nothing depends on it."""
    if not incidents:
        return 1
    latest = max((alerts[-1] for alerts in incidents.values()), key=lambda alert: alert.clocks.observed_at)
    return source.package(latest.model_version).step_ms
