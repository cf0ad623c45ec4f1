"""The demo: a fleet's past trains the model, its present streams through the deployed pipeline, the books are shown."""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import cloud as stage
from demo import results
from demo.alerts import AlertFeed
from demo.cloud import Deployment
from demo.incident_files import FOLDER, save
from demo.ledger import Books
from demo.model import train
from demo.producer import Sent
from demo.replay import Replay
from demo.report import report_data
from demo.screen import DemoScreen
from emulator.dashboard.service import PATH as DASHBOARD
from emulator.dashboard.service import save as save_dashboards
from emulator.launcher import EmbeddedCloud
from emulator.loopback.gateway import ADMIN
from report.figure import picture
from report.page import write_report
from training.evaluate.backtest import Backtest, backtest
from training.evaluate.judge import evaluate_tiers
from training.evaluate.stored_incidents import openings
from training.history.files import History
from training.history.grid import Grid, grid_of
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.expectation.local_time import Zones
from treeline.core.model.package import ModelPackage
from treeline.core.profile import Metric, declared
from treeline.core.times import DEFAULT_ZONE, iso
from treeline.forest.forest import RandomCutForest
from treeline.wiring.incident_tables import tables


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


def split(plan: ReplayPlan, timezone: str = DEFAULT_ZONE) -> tuple[Grid, Grid]:
    """The unlabelled past to train on, and the part to replay, of servers in a time zone."""
    history = plan.history
    starts = [rows.test_start_ms for rows in history.rows.values()]
    start_ms = max(plan.start_ms or min(starts), min(starts))
    past = grid_of(history, part="train")
    present = grid_of(history, part="test", start_ms=start_ms, end_ms=plan.end_ms)
    if len(past.times_ms) < 100:
        raise UsageError(
            f"{history.path} has {len(past.times_ms)} times before {iso(start_ms)} to train on; at least 100 are needed"
        )
    zones = Zones(timezone)
    return replace(past, zones=zones), replace(present, zones=zones)


# long: the story of a demo in its order; what is more than a sentence of it is a call
def replay_fleet(plan: ReplayPlan, screen: DemoScreen) -> tuple[results.ReplayResult, dict[str, Any]]:
    """Everything, from an empty machine to the scoreboard; writes summary.json, report.html and dashboards/.

    Raises:
        UsageError: The history cannot be replayed.
        TreelineError: Something did not come up.
    """
    metrics = declared(plan.history.metrics)
    detection = stage.detection(metrics, plan.overrides)
    plan.output.mkdir(parents=True, exist_ok=True)
    with EmbeddedCloud(directory=plan.output / "cloud") as cloud:
        deployment, past, present = _deploy(plan, metrics, detection.timezone, cloud, screen)
        feed = AlertFeed(deployment)
        package, forest = _train(plan, deployment, past, screen, rolling_window_s=detection.trained_window_s)
        began, began_at = time.monotonic(), datetime.now(UTC)
        replay = Replay(deployment, present, feed, screen)
        first, last = int(present.times_ms[0]), int(present.times_ms[-1])
        observations = plan.history.records(first, last, part="test")
        replay.run(observations, speed=plan.speed, seed=plan.seed, mangle=plan.mangle, during=plan.during)
        seconds = time.monotonic() - began
        with screen.spinner("saving the dashboards as they are now"):
            save_dashboards(cloud.client, plan.output / "dashboards", since=began_at)
        result, offline = _judge(plan, replay, package, forest, detection.policy, seconds)
        facts = _facts(plan, present, package, seconds)
        body = results.summary(result, facts, deployment.report.no_ops)
        (plan.output / "summary.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        with screen.spinner("drawing the report"):
            _draw(plan, result, present, offline, metrics, facts)
        return result, body


def _deploy(
    plan: ReplayPlan, metrics: tuple[Metric, ...], timezone: str, cloud: EmbeddedCloud, screen: DemoScreen
) -> tuple[Deployment, Grid, Grid]:
    """The stage's stacks, deployed, and the fleet's past and present, read while they are synthesized."""
    with tempfile.TemporaryDirectory(prefix="treeline-assembly-") as folder, ThreadPoolExecutor(1) as background:
        screen.step("synthesizing the CloudFormation templates; meanwhile reading the fleet's past")
        assembly = background.submit(stage.build, Path(folder), metrics, cloud.pagerduty.url, plan.overrides)
        past, present = split(plan, timezone)
        with screen.spinner("synthesizing"):
            assembly_path = assembly.result()
        deployment = stage.deploy(cloud, assembly_path)
    resources = sum(deployment.report.resource_types.values())
    screen.step(
        f"deployed {len(deployment.report.outputs)} stacks with {resources} resources to "
        f"{cloud.endpoint_url} in {deployment.report.seconds:.1f} s"
    )
    screen.step(f"dashboards, while this runs: {cloud.endpoint_url}{ADMIN}{DASHBOARD}")
    return deployment, past, present


def _train(
    plan: ReplayPlan, deployment: Deployment, past: Grid, screen: DemoScreen, *, rolling_window_s: float
) -> tuple[ModelPackage, RandomCutForest]:
    with screen.progress() as progress:
        task = progress.add_task("training", total=100, note="")

        def tell(what: str, share: float) -> None:
            progress.update(task, completed=round(100 * share), note=what)

        package, forest = train(
            deployment,
            past,
            model_version=f"demo-{plan.seed}",
            seed=plan.seed,
            progress=tell,
            rolling_window_s=rolling_window_s,
        )
    where = f"hosted it on endpoint {deployment.endpoint_name}" if deployment.endpoint_name else "detect asks it itself"
    screen.step(
        f"trained a forest on {package.manifest['training_rows']:,} rows of {len(past.servers)} servers "
        f"({len(past.metrics)} metrics), {where}"
    )
    return package, forest


def _judge(
    plan: ReplayPlan,
    replay: Replay,
    package: ModelPackage,
    forest: RandomCutForest,
    policy: PolicySettings,
    seconds: float,
) -> tuple[results.ReplayResult, Backtest]:
    """What the replay came to, by the deployed tables, the labels, and the same history run without a cloud."""
    deployment, present, sent, screen = replay.deployment, replay.present, replay.sent, replay.screen
    books = Books(deployment)
    with screen.spinner("reading the books"):
        ledger, incidents, groups = books.ledger(), books.incidents(), books.groups()
        save(
            plan.output / FOLDER,
            tables(deployment, lambda _: (forest.score, "the run's own")),
            incidents,
            package=package,
            forest=forest,
            watched=(int(present.times_ms[0]), int(present.times_ms[-1])),
            quiet=list(dict.fromkeys([*(label.server_id for label in plan.history.incidents), *present.servers])),
            server_count=len(present.servers),
        )
    with screen.spinner("running the same history offline"):
        offline = backtest(package, present, forest.score, policy, groups=groups, with_bands=True)
    pages = [entry["status"] for entry in deployment.cloud.pagerduty.received()]
    delivered = sum(status == 202 for status in pages)
    result = results.ReplayResult(
        accounting=results.accounting(
            sent.records, ledger, alerts=len(replay.alerts), pages=delivered, refused=len(pages) - delivered
        ),
        evaluations=evaluate_tiers(
            plan.history.incidents,
            # At full speed the wall clock says nothing about which openings waited for which.
            openings(incidents, by_wall_clock=False),
            observed=present.observed(),
            step_ms=round(present.step_s * 1000),
            protocol=plan.history.protocol,
        ),
        clocks=results.clocks(replay.alerts),
        incidents=incidents,
        reproduced=results.matches_offline(incidents, offline),
        records_per_s=sent.records / seconds,
        faults={"throttled_puts": sent.throttled, "late": len(ledger.late)},
    )
    return result, offline


def _facts(plan: ReplayPlan, present: Grid, package: ModelPackage, seconds: float) -> dict[str, str]:
    return {
        "command": plan.command,
        "servers": str(len(present.servers)),
        "metrics": str(len(present.metrics)),
        "replayed": f"{iso(int(present.times_ms[0]))} to {iso(int(present.times_ms[-1]))}",
        "model": f"{package.model_version}, rows {package.fingerprint}",
        "seed": str(plan.seed),
        "speed": "as fast as it goes" if plan.speed is None else f"{plan.speed:g} x real time",
        "wall_time": f"{seconds:.0f} s",
    }


def _draw(
    plan: ReplayPlan,
    result: results.ReplayResult,
    present: Grid,
    offline: Backtest,
    metrics: tuple[Metric, ...],
    facts: Mapping[str, str],
) -> None:
    """Write report.html and report.svg."""
    data = report_data(
        result,
        present,
        offline,
        metrics,
        title=plan.title,
        subtitle=f"{len(present.servers)} servers through the deployed templates, {facts['speed']}",
        facts=facts,
    )
    write_report(plan.output / "report.html", data)
    picture(plan.output / "report.svg", data)
