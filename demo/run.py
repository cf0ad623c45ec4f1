"""The demo: a fleet's past trains the model, its present streams through the deployed pipeline, the books are shown."""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import cloud as stage
from demo import results
from demo.alerts import AlertFeed
from demo.cloud import Deployment
from demo.keep import keep_incidents
from demo.ledger import Books
from demo.model import train
from demo.producer import Sent, send
from demo.screen import DemoScreen
from emulator.dashboard.service import PATH as DASHBOARD
from emulator.dashboard.service import save as save_dashboards
from emulator.launcher import EmbeddedCloud
from emulator.loopback.gateway import ADMIN
from report.figure import picture
from report.page import write_report
from training.evaluate.backtest import backtest
from training.history.files import History
from training.history.grid import Grid, grid_of
from treeline.core.alert import Alert
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import TreelineError, UsageError
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.times import iso
from treeline.settings import outputs
from treeline.settings.values import read

PATIENCE_S = 90.0  # without any progress; then what is missing is reported as lost
PAGE_PATIENCE_S = 30.0
STANDSTILL_S = 5.0
# Records in the stream that ingest has not taken yet. A shard refuses more than 1,000 records a second on AWS; here
# the limit keeps what is received fresh, as the clocks and the wait for silent servers count from receipt.
MAX_UNREAD = 2_000
# Observations in the table that detect has not decided yet. It reads from the oldest on; a backlog beyond what one
# read takes would only make it read the same again and again.
MAX_UNDECIDED = 6_000
_POLL_S = 0.5


class ReplayError(TreelineError):
    """The replay ended, but its books do not balance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """What to replay, and how."""

    history: History
    start_ms: int | None = None
    end_ms: int | None = None
    speed: float | None = None  # None: as fast as it goes
    seed: int = 7
    output: Path = Path("runs/demo")
    title: str = "Treeline demo"
    command: str = "treeline demo"
    overrides: dict[str, Any] = field(default_factory=dict)
    mangle: Callable[[bytes], Iterable[bytes]] = lambda data: (data,)
    during: Callable[[Deployment, Sent], None] | None = None  # fault tests act here, in a thread of their own


def metric_set(names: tuple[str, ...]) -> tuple[Metric, ...]:
    """The metrics of a history, with units and ranges where we know them."""
    known = {metric.name: metric for metric in DEFAULT_METRICS}
    return tuple(known.get(name, Metric(name=name)) for name in names)


def split(plan: ReplayPlan) -> tuple[Grid, Grid]:
    """The unlabelled past to train on, and the part to replay."""
    history = plan.history
    starts = [rows.test_start_ms for rows in history.rows.values()]
    start_ms = max(plan.start_ms or min(starts), min(starts))
    past = grid_of(history, part="train")
    present = grid_of(history, part="test", start_ms=start_ms, end_ms=plan.end_ms)
    if len(past.times_ms) < 100:
        raise UsageError(
            f"{history.path} has {len(past.times_ms)} times before {iso(start_ms)} to train on; at least 100 are needed"
        )
    return past, present


def replay_fleet(plan: ReplayPlan, screen: DemoScreen) -> tuple[results.ReplayResult, dict[str, Any]]:
    """Everything, from an empty machine to the scoreboard; writes summary.json, report.html and dashboards/.

    Raises:
        UsageError: The history cannot be replayed.
        TreelineError: Something did not come up.
    """
    metrics = metric_set(plan.history.metrics)
    plan.output.mkdir(parents=True, exist_ok=True)
    with (
        EmbeddedCloud(directory=plan.output / "cloud") as cloud,
        tempfile.TemporaryDirectory(prefix="treeline-assembly-") as folder,
        ThreadPoolExecutor(1) as background,
    ):
        screen.step("synthesizing the CloudFormation templates; meanwhile reading the fleet's past")
        assembly = background.submit(stage.build, Path(folder), metrics, cloud.pagerduty.url, plan.overrides)
        past, present = split(plan)
        with screen.spinner("synthesizing"):
            assembly_path = assembly.result()
        deployment = stage.deploy(cloud, assembly_path)
        resources = sum(deployment.report.resource_types.values())
        screen.step(
            f"deployed {len(deployment.report.outputs)} stacks with {resources} resources to "
            f"{cloud.endpoint_url} in {deployment.report.seconds:.1f} s"
        )
        screen.step(f"dashboards, while this runs: {cloud.endpoint_url}{ADMIN}{DASHBOARD}")
        feed = AlertFeed(deployment)
        version = f"demo-{plan.seed}"
        with screen.progress() as progress:
            task = progress.add_task("training", total=100, note="")

            def tell(what: str, share: float) -> None:
                progress.update(task, completed=round(100 * share), note=what)

            package, forest = train(deployment, past, model_version=version, seed=plan.seed, progress=tell)
        screen.step(
            f"trained a forest on {package.manifest['training_rows']:,} rows of {len(past.servers)} servers "
            f"({len(past.metrics)} metrics), hosted it on endpoint {deployment.output(outputs.ENDPOINT_NAME)}"
        )
        began, began_at = time.monotonic(), datetime.now(UTC)
        sent, alerts = _replay(plan, deployment, present, feed, screen)
        seconds = time.monotonic() - began
        books = Books(deployment)
        with screen.spinner("saving the dashboards as they are now"):
            save_dashboards(cloud.client, plan.output / "dashboards", since=began_at)
        with screen.spinner("reading the books"):
            ledger = books.ledger()
            incidents = books.incidents()
            groups = books.groups()
            keep_incidents(deployment, plan.output, incidents, present, package, forest)
        policy = read(PolicySettings, plan.overrides.get("detection", {}).get("policy", {}), "detection.policy")
        with screen.spinner("running the same history offline"):
            offline = backtest(package, present, forest.score, policy, groups=groups, with_bands=True)
        pages = [entry["status"] for entry in cloud.pagerduty.received()]
        delivered = sum(status == 202 for status in pages)
        result = results.ReplayResult(
            accounting=results.accounting(
                sent.records, ledger, alerts=len(alerts), pages=delivered, refused=len(pages) - delivered
            ),
            evaluations=results.judge(plan.history.incidents, incidents, _observed(plan.history, present)),
            clocks=results.clocks(alerts),
            incidents=incidents,
            reproduced=results.matches_offline(incidents, offline),
            records_per_s=sent.records / seconds,
            faults={"throttled_puts": sent.throttled, "late": len(ledger.late)},
        )
        facts = {
            "command": plan.command,
            "servers": str(len(present.servers)),
            "metrics": str(len(present.metrics)),
            "replayed": f"{iso(int(present.times_ms[0]))} to {iso(int(present.times_ms[-1]))}",
            "model": f"{version}, rows {package.fingerprint}",
            "seed": str(plan.seed),
            "speed": "as fast as it goes" if plan.speed is None else f"{plan.speed:g} x real time",
            "wall_time": f"{seconds:.0f} s",
        }
        no_ops = deployment.report.no_ops
        body = results.summary(result, facts, no_ops)
        (plan.output / "summary.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        units = {metric.name: metric.unit for metric in metrics}
        with screen.spinner("drawing the report"):
            data = results.report_data(
                result,
                present,
                offline,
                units,
                title=plan.title,
                subtitle=f"{len(present.servers)} servers through the deployed templates, {facts['speed']}",
                facts=facts,
            )
            write_report(plan.output / "report.html", data)
            picture(plan.output / "report.svg", data)
        return result, body


def _observed(history: History, present: Grid) -> dict[str, tuple[int, int]]:
    first, last = int(present.times_ms[0]), int(present.times_ms[-1])
    return {
        server: (max(begin, first), min(end, last))
        for server, (begin, end) in history.observed(part="test").items()
        if max(begin, first) <= min(end, last)
    }


def _replay(
    plan: ReplayPlan, deployment: Deployment, present: Grid, feed: AlertFeed, screen: DemoScreen
) -> tuple[Sent, list[Alert]]:
    """Send, watch, and wait until everything sent has been decided and told."""
    books, sent, alerts = Books(deployment), Sent(), list[Alert]()
    failure: list[BaseException] = []
    first, last = int(present.times_ms[0]), int(present.times_ms[-1])

    def produce() -> None:
        try:
            send(
                deployment.client("kinesis"),
                deployment.output(outputs.STREAM_NAME),
                plan.history.records(first, last, part="test"),
                present.metrics,
                speed=plan.speed,
                sent=sent,
                mangle=plan.mangle,
                before=lambda: _await_readers(deployment, sent, behind),
                seed=plan.seed,
            )
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            failure.append(error)

    total = int(present.present().sum())
    behind = _Behind()
    screen.step(f"replaying {total:,} records, {iso(first)[:16]} to {iso(last)[:16]}")
    producer = threading.Thread(target=produce, name="producer", daemon=True)
    producer.start()
    if plan.during is not None:
        threading.Thread(target=plan.during, args=(deployment, sent), name="faults", daemon=True).start()
    with screen.progress() as progress:
        sending = progress.add_task("sent", total=total, note="")
        deciding = progress.add_task("decided", total=total, note="")
        seen, since = -1, time.monotonic()
        while True:
            for alert in feed.read():
                alerts.append(alert)
                screen.alert(alert)
            decided = books.decided()
            behind.undecided = books.stored() - decided
            progress.update(
                sending, completed=min(sent.records, total), note=iso(sent.event_ms)[:16] if sent.event_ms else ""
            )
            progress.update(deciding, completed=decided, note=f"{len(alerts)} alerts")
            if failure:
                raise ReplayError(f"sending failed after {sent.records:,} records: {failure[0]}") from failure[0]
            if decided + sent.records != seen:
                seen, since = decided + sent.records, time.monotonic()
            if not producer.is_alive() and decided >= total:
                break
            idle = time.monotonic() - since
            if not producer.is_alive() and idle > 3.0 and decided >= books.stored():
                break
            if not producer.is_alive() and idle > PATIENCE_S:
                screen.step(f"[bold red]nothing moved for {PATIENCE_S:.0f} s; what is missing counts as lost[/]")
                break
            time.sleep(_POLL_S)
        _await_pages(deployment, feed, alerts, screen)
    return sent, alerts


@dataclass(slots=True)
class _Behind:
    """What the watching thread last saw of detect's backlog; the producer waits for it."""

    undecided: int = 0


def _await_readers(deployment: Deployment, sent: Sent, behind: _Behind) -> None:
    """Return when ingest has taken all but MAX_UNREAD of what was sent, and detect is not far behind.

    What waits for a silent server is undecided too, so a backlog that does not move is not waited for.
    """
    seen, since = (-1, -1), time.monotonic()
    while True:
        counters = deployment.cloud.status()["counters"]
        taken = counters.get("kinesis_delivered", 0) + counters.get("kinesis_discarded", 0)
        is_read, is_decided = sent.records - taken <= MAX_UNREAD, behind.undecided <= MAX_UNDECIDED
        idle_s = time.monotonic() - since
        if is_read and (is_decided or idle_s > STANDSTILL_S):
            return
        if (taken, behind.undecided) != seen:
            seen, since = (taken, behind.undecided), time.monotonic()
        elif idle_s > PATIENCE_S:
            raise ReplayError(f"ingest has taken nothing for {PATIENCE_S:.0f} s; see {deployment.cloud.log_path}")
        time.sleep(_POLL_S / 10)


def _await_pages(deployment: Deployment, feed: AlertFeed, alerts: list[Alert], screen: DemoScreen) -> None:
    """Wait until every alert has been told and no page is waiting any more."""
    sqs, pages = deployment.client("sqs"), deployment.output(outputs.PAGES_QUEUE_URL)
    deadline = time.monotonic() + PAGE_PATIENCE_S
    while time.monotonic() < deadline:
        for alert in feed.read():
            alerts.append(alert)
            screen.alert(alert)
        committed = sum(len(told) for told in Books(deployment).incidents().values())
        depth = sqs.get_queue_attributes(QueueUrl=pages, AttributeNames=["All"])["Attributes"]
        waiting = int(depth["ApproximateNumberOfMessages"]) + int(depth["ApproximateNumberOfMessagesNotVisible"])
        if len(alerts) >= committed and waiting == 0:
            return
        time.sleep(_POLL_S)
