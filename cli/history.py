"""`treeline history`: a fleet's past out of CloudWatch, planned and priced before it is fetched, audited after."""

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.history.cloudwatch import aws
from training.history.cloudwatch.audit import ENOUGH, Audit, audit, audit_history
from training.history.cloudwatch.discovery import discover
from training.history.cloudwatch.fetch import Fetched, fetch
from training.history.cloudwatch.plan import Cost, FetchPlan, cost, make_plan
from training.history.cloudwatch.quotas import DAY_S, QUOTAS, FetchLimits
from training.history.cloudwatch.series import EC2_SOURCES, read_sources
from training.history.cloudwatch.store import Files, Folder, HistoryStore, S3Folder
from training.history.files import History, open_history
from training.prepare import data_quality
from treeline.core.errors import TreelineError, UsageError
from treeline.core.times import iso, parse_iso

_EXAMPLES = """examples:
  treeline history plan --out history --tag Environment=prod
  treeline history fetch --out history --tag Environment=prod --name-tag Name
  treeline history fetch --out s3://my-bucket/history --days 90
  treeline history fetch --out history                     (goes on with the plan kept there)
  treeline history audit --out history
  treeline history audit --data fleet.parquet
  treeline history audit --data lake/2026/11 --baseline runs/42/quality
"""
_MOST_DOLLARS = 25.0
_SHOWN = 20


class CloudWatchError(TreelineError):
    """AWS refused a call of discovery, or cannot be reached."""


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `treeline history`."""
    parser.epilog = _EXAMPLES
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="plan | fetch | audit")
    plan = verbs.add_parser("plan", help="what a fetch would take: calls, minutes, dollars; who lacks which metric")
    get = verbs.add_parser("fetch", help="fetch it, or go on where an earlier fetch stopped")
    check = verbs.add_parser("audit", help="completeness by server and metric; exit code 1 if it is too low")
    for verb in (plan, get):
        verb.add_argument("--out", required=True, metavar="DIR", help="a folder, or s3://bucket/prefix")
        verb.add_argument("--days", type=float, default=182.0, help="how far back, default %(default)s")
        verb.add_argument("--end", help="ISO 8601 time, default now")
        verb.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE", help="only instances with it")
        verb.add_argument("--name-tag", metavar="NAME", help="name servers by this tag instead of their instance id")
        verb.add_argument("--sources", type=Path, metavar="FILE", help="JSON: which CloudWatch metrics make up ours")
        verb.add_argument("--anew", action="store_true", help="discover and plan again, replacing the plan in DIR")
        verb.add_argument("--calls-per-s", type=float, default=FetchLimits().calls_per_s, help="default %(default)s")
        verb.add_argument("--points-per-s", type=float, default=FetchLimits().points_per_s, help="default %(default)s")
        verb.add_argument("--json", action="store_true", help="print the result as JSON")
        verb.add_argument("--region", help="default: the AWS profile's")
    get.add_argument("--most-dollars", type=float, default=_MOST_DOLLARS, help="refuse dearer plans, %(default)s")
    where = check.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="what `fetch` wrote: a folder, or s3://bucket/prefix")
    where.add_argument("--data", type=Path, help="a history file, or a folder of the lake, instead")
    check.add_argument(
        "--baseline", type=Path, metavar="DIR", help="with --data: hold it against a training run's statistics.json too"
    )
    check.add_argument("--enough", type=float, default=100 * ENOUGH, help="percent, default %(default)s")
    check.add_argument("--region", help="default: the AWS profile's")
    check.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Run a verb; progress goes to stderr."""
    if args.verb == "audit":
        return _audit(args)
    limits = _limits(args)
    session = boto3.Session(region_name=args.region)
    with _aws_errors():
        store = HistoryStore(_files(args.out, session))
        kept = None if args.anew else store.plan()
        plan = kept or _discover(args, session)
        if kept is None:
            store.save_plan(plan)
        waiting = [chunk for chunk in plan.chunks if chunk not in store.finished(plan)]
        taking = cost(plan, waiting, limits=limits)
        _announce(args, plan, taking, len(waiting), planned_now=kept is None)
        if args.verb == "plan":
            return 0
        if taking.dollars > args.most_dollars:
            raise UsageError(
                f"this would cost ${taking.dollars:.2f}, more than --most-dollars {args.most_dollars:g}: raise it"
            )
        done = _fetch(limits, plan, store, session, len(waiting))
        return _report(args, audit(plan, store.finished(plan)), ENOUGH, fetched=done)


def _discover(args: argparse.Namespace, session: boto3.Session) -> FetchPlan:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    end_ms = _time(args.end) if args.end else now_ms
    sources = read_sources(args.sources) if args.sources else EC2_SOURCES
    client = aws.cloudwatch_client(session, parallel_calls=1)
    servers = discover(
        aws.instances(session.client("ec2"), _tags(args.tag)),
        sources,
        lambda namespace, name: aws.listed_metrics(client, namespace, name),
        name_tag=args.name_tag,
    )
    return make_plan(
        servers,
        [source.metric for source in sources],
        start_ms=end_ms - round(args.days * DAY_S * 1000),
        end_ms=end_ms,
        now_ms=now_ms,
        quotas=QUOTAS,
    )


def _announce(args: argparse.Namespace, plan: FetchPlan, taking: Cost, waiting: int, *, planned_now: bool) -> None:
    """What is about to happen; on stderr where stdout belongs to the result."""
    console = Console(stderr=args.verb == "fetch" or args.json, highlight=False)
    asked = sum(bool(server.queries) for server in plan.servers)
    if not planned_now:
        console.print(f"following the plan of {iso(plan.made_ms)[:16]} UTC kept there; --anew replaces it")
    console.print(
        f"{asked} servers x {len(plan.metrics)} metrics, {iso(plan.start_ms)[:16]} to {iso(plan.end_ms)[:16]} UTC\n"
        f"{waiting} of {len(plan.chunks)} calls to make: {taking.points:,} points, "
        f"about {taking.expected_s / 60:.1f} minutes, ${taking.dollars:.2f}"
    )
    without = [server for server in plan.servers if server.missing]
    for server in without[:_SHOWN]:
        console.print(f"CloudWatch knows no {', '.join(server.missing)} of {server.server_id}")
    if len(without) > _SHOWN:
        console.print(f"... and {len(without) - _SHOWN} more servers lack a metric")
    basic = sum(server.step_s > 60 for server in plan.servers)
    if basic:
        console.print(f"{basic} servers have EC2's basic monitoring: their rows come every 5 minutes")
    if args.verb == "plan" and args.json:
        body = {
            "servers": asked,
            "metrics": list(plan.metrics),
            "from": iso(plan.start_ms),
            "to": iso(plan.end_ms),
            "calls": taking.calls,
            "queries": taking.queries,
            "points": taking.points,
            "minutes": taking.expected_s / 60,
            "dollars": taking.dollars,
            "missing_metrics": {server.server_id: list(server.missing) for server in without},
        }
        Console().print_json(json.dumps(body))


def _fetch(limits: FetchLimits, plan: FetchPlan, store: HistoryStore, session: boto3.Session, waiting: int) -> Fetched:
    client = aws.cloudwatch_client(session, parallel_calls=limits.parallel_calls)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ThreadPoolExecutor(limits.parallel_calls) as executor,
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("calls", total=waiting)
        return asyncio.run(
            fetch(
                plan,
                aws.CloudWatchMetricData(client, executor),
                store,
                limits=limits,
                now_ms=lambda: int(time.time() * 1000),
                rng=random.Random(),
                progress=lambda done: bar.update(task, completed=done.chunks),
            )
        )


def _audit(args: argparse.Namespace) -> int:
    if args.baseline is not None and args.data is None:
        raise UsageError("--baseline needs --data, the history to hold against it")
    if args.data is not None:
        history = open_history(args.data)
        code = _report(args, audit_history(history), args.enough / 100)
        return code if args.baseline is None else max(code, _report_quality(args, history))
    with _aws_errors():
        store = HistoryStore(_files(args.out, boto3.Session(region_name=args.region)))
        plan = store.plan()
        if plan is None:
            raise UsageError(f"{args.out} holds no plan: run `treeline history fetch --out {args.out}` first")
        return _report(args, audit(plan, store.finished(plan)), args.enough / 100)


def _report(args: argparse.Namespace, found: Audit, enough: float, *, fetched: Fetched | None = None) -> int:
    code = 0 if found.completeness >= enough else 1
    if args.json:
        body: dict[str, Any] = {**found.to_json(), "enough": enough}
        if fetched is not None:
            body["fetched"] = {"chunks": fetched.chunks, "calls": fetched.calls, "points": fetched.points}
            body["fetched"]["refused"] = fetched.refused
        Console().print_json(json.dumps(body))
        return code
    console = Console(highlight=False)
    if fetched is not None:
        console.print(
            f"fetched {fetched.points:,} points in {fetched.calls} calls, {fetched.refused} of them throttled"
        )
    if found.chunks_missing:
        console.print(f"{found.chunks_missing} of {found.chunks} chunks are not fetched yet")
    for metric in dict.fromkeys(c.metric for c in found.coverage):
        console.print(f"{metric:<24}{found.by_metric(metric):>9.3%}")
    for name in found.silent_servers[:_SHOWN]:
        console.print(f"nothing at all from {name}")
    for name, metrics in list(found.missing_metrics.items())[:_SHOWN]:
        console.print(f"no {', '.join(metrics)} from {name}: is the agent installed, and set to publish it?")
    left_out = max(0, len(found.silent_servers) - _SHOWN) + max(0, len(found.missing_metrics) - _SHOWN)
    if left_out:
        console.print(f"... and {left_out} more servers; --json names all")
    for coverage in found.gaps(enough)[:_SHOWN]:
        console.print(f"{coverage.server_id} {coverage.metric} is {coverage.completeness:.2%} complete")
    for odd in found.odd_values[:_SHOWN]:
        console.print(str(odd))
    if len(found.odd_values) > _SHOWN:
        console.print(f"... and {len(found.odd_values) - _SHOWN} more series with odd values; --json names all")
    console.print(
        f"completeness {found.completeness:.3%}, wanted {enough:.3%}: {'enough' if not code else 'NOT enough'}"
    )
    return code


def _report_quality(args: argparse.Namespace, history: History) -> int:
    violations = data_quality.check_history(history, *data_quality.read(args.baseline))
    if args.json:
        Console(stderr=True).print_json(json.dumps([violation.to_json() for violation in violations]))
    else:
        console = Console(highlight=False)
        for violation in violations:
            told = violation.to_json()
            console.print(f"{violation.feature}: {told['constraint_check_type']}: {told['description']}")
        console.print(f"{len(violations)} constraints of {args.baseline} violated")
    return 1 if violations else 0


def _limits(args: argparse.Namespace) -> FetchLimits:
    for name, most in (("calls_per_s", QUOTAS.calls_per_s), ("points_per_s", QUOTAS.points_per_s)):
        value = getattr(args, name)
        if not 0 < value <= most:
            raise UsageError(
                f"--{name.replace('_', '-')} is {value:g}, expected more than 0, up to the quota of {most:g}"
            )
    return FetchLimits(calls_per_s=args.calls_per_s, points_per_s=args.points_per_s)


def _files(out: str, session: boto3.Session) -> Files:
    if not out.startswith("s3://"):
        path = Path(out)
        if path.exists() and not path.is_dir():
            raise UsageError(f"--out {out} is a file, expected a folder or s3://bucket/prefix")
        return Folder(path)
    matched = re.fullmatch(r"s3://([^/]+)(?:/(.*))?", out)
    if matched is None:
        raise UsageError(f"--out is {out!r}, expected a folder or s3://bucket/prefix")
    return S3Folder(session.client("s3"), matched[1], matched[2] or "")


def _tags(texts: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--tag is {text!r}, expected NAME=VALUE")
        pairs.append((name, value))
    return pairs


def _time(text: str) -> int:
    try:
        return parse_iso(text)
    except ValueError as error:
        raise UsageError(f"--end is {text!r}, expected ISO 8601 with a zone such as 2026-11-22T15:58:30Z") from error


@contextmanager
def _aws_errors() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise CloudWatchError(f"AWS: {error}") from error
