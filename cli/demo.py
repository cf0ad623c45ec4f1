"""`treeline demo`."""

import argparse
import json
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from cli import learn as learning
from cli.times import moment_ms
from demo.fleet.generate import generate
from demo.fleet.plan import DEMO
from demo.overrides import overrides
from demo.run import ReplayPlan, replay_fleet
from demo.screen import DemoScreen
from training.history.files import open_history
from treeline.core.errors import UsageError
from treeline.core.times import iso

EXAMPLES = """
examples:
  treeline demo                                   a generated fleet, as fast as it goes
  treeline demo --servers 500 --step 30 --days 2 --speed 1
  treeline demo --set stream.batching_window_s=5  with a setting of production's
  treeline demo --learn                           first model, drift, the next model: no hands
  treeline demo --learn rolled-back               the next model is off, and has to go
  treeline demo --learn --set scorer=embedded     the same without an endpoint
  treeline demo --data fleet.parquet --incidents incidents.csv
  treeline demo --data fleet.parquet --incidents incidents.csv --servers machine-1-2,machine-1-4 --to 2024-01-12

A history file is parquet with timestamp, server_id, metric columns and optionally split (train, test); incidents are
a CSV with server_id, start, end. Results: summary.json, report.html and dashboards/ in the --out folder.
Exit codes: 0 done and every record accounted for, 1 not, 2 wrong use."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Replay a fleet through the deployed pipeline on the embedded cloud and judge the pages."
    parser.epilog = EXAMPLES
    source = parser.add_argument_group("a history of your own (instead of a generated fleet)")
    source.add_argument("--data", type=Path, metavar="PARQUET", help="history file")
    source.add_argument("--incidents", type=Path, metavar="CSV", help="its labelled incidents, if there are any")
    parser.add_argument(
        "--servers",
        metavar="N|A,B,..",
        help=f"generated: how many (default {DEMO.servers}); with --data: how many, or which, by name",
    )
    parser.add_argument(
        "--from", dest="start_ms", type=moment_ms, metavar="TIME", help="replay from here (ISO 8601, UTC)"
    )
    parser.add_argument("--to", dest="end_ms", type=moment_ms, metavar="TIME", help="replay up to here")
    generated = parser.add_argument_group("the generated fleet")
    generated.add_argument("--days", type=float, help=f"history, the last tenth replayed (default {DEMO.days:g})")
    generated.add_argument("--step", type=int, metavar="SECONDS", help=f"sampling step (default {DEMO.step_s})")
    parser.add_argument("--seed", type=int, default=DEMO.seed, help=f"of fleet and forest (default {DEMO.seed})")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=float, metavar="X", help="event seconds a second (default: as fast as it goes)")
    pace.add_argument("--real-time", action="store_true", help="the same as --speed 1")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a stage setting to change for this run (stacks/config/stage.py has them); may be repeated",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="results folder (default runs/demo)")
    learning.register(parser)
    parser.add_argument("--json", action="store_true", help="summary as JSON on stdout, the rest on stderr")


def _generate(args: argparse.Namespace, folder: Path, screen: DemoScreen) -> tuple[Path, Path]:
    """A fleet whose last tenth, with a month's end in it, is replayed."""
    servers = args.servers or str(DEMO.servers)
    if not servers.isdigit():
        raise UsageError(f"--servers names servers of a history; without --data it is a number, got {servers!r}")
    plan = replace(
        DEMO,
        servers=int(servers),
        days=DEMO.days if args.days is None else args.days,
        step_s=DEMO.step_s if args.step is None else args.step,
        seed=args.seed,
    )
    screen.step(f"generating {plan.days:g} days of {plan.servers} servers, one observation each {plan.step_s} s")
    with screen.progress() as progress:
        task = progress.add_task("servers", total=plan.servers, note="")
        made = generate(plan, folder, progress=lambda done, _: progress.update(task, completed=done))
    return made.data_path, made.incidents_path


def run(args: argparse.Namespace) -> int:
    """Check the options, run, and show the scoreboard."""
    if args.learn is not None:
        return learning.run(args)
    if args.speed is not None and args.speed <= 0:
        raise UsageError(f"--speed must be above 0, got {args.speed:g}")
    if args.start_ms is not None and args.end_ms is not None and args.end_ms <= args.start_ms:
        raise UsageError(f"--to must be after --from, got {iso(args.end_ms)} and {iso(args.start_ms)}")
    screen = DemoScreen(as_json=args.json)
    with tempfile.TemporaryDirectory(prefix="treeline-fleet-") as folder:
        if args.data is not None and (args.days is not None or args.step is not None):
            raise UsageError("--days and --step shape a generated fleet; a history given by --data has its own")
        if args.data is None:
            if args.incidents is not None:
                raise UsageError("--incidents needs --data: labels of which history?")
            data, incidents, servers = *_generate(args, Path(folder), screen), None
        else:
            data, incidents, servers = args.data, args.incidents, args.servers
        names = _names(data, servers)
        history = open_history(
            data, incidents, servers=names, train_fraction=DEMO.train_fraction if args.data is None else 0.5
        )
        plan = ReplayPlan(
            history=history,
            start_ms=args.start_ms,
            end_ms=args.end_ms,
            speed=1.0 if args.real_time else args.speed,
            seed=args.seed,
            output=args.out,
            overrides=overrides(args.settings),
            command=shlex.join(["treeline", *sys.argv[1:]]),
        )
        result, body = replay_fleet(plan, screen)
    screen.scoreboard(result)
    screen.console.print(
        f"  [bold]{args.out / 'report.html'}[/] shows each incident, {args.out / 'dashboards'} what engineers watch; "
        f"{args.out / 'summary.json'} has the figures"
    )
    if result.incidents:
        example = next((name for name in sorted(result.incidents) if not name.startswith("fleet/")), "fleet/...")
        screen.console.print(
            f"  why did it page? {_own_name()} explain {example} --run {args.out} --reproduce", soft_wrap=True
        )
    if args.json:
        print(json.dumps(body))
    if not result.balanced:
        screen.console.print("[bold red]The books do not balance.[/]")
        return 1
    return 0


def _own_name() -> str:
    """How this command was called: `make demo` puts nothing on the PATH, and the line is there to be copied."""
    return sys.argv[0] if Path(sys.argv[0]).name == "treeline" else "treeline"


def _names(data: Path, servers: str | None) -> list[str] | None:
    """Which servers of a history: all, the first n, or those named."""
    if servers is None:
        return None
    if servers.isdigit():
        count = int(servers)
        if count < 1:
            raise UsageError(f"--servers must be at least 1, got {servers}")
        everyone = open_history(data).servers
        if count > len(everyone):
            raise UsageError(f"--servers {count}, but {data} holds {len(everyone)}")
        return list(everyone[:count])
    return [name for name in servers.split(",") if name]
