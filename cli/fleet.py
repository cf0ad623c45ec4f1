"""`treeline fleet generate`: a synthetic fleet on disk."""

import argparse
import json
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from cli.times import moment
from demo.fleet.generate import generate
from demo.fleet.plan import Addition, FleetPlan, IncidentKind
from demo.screen import DemoScreen
from treeline.core.errors import UsageError

_Choice = TypeVar("_Choice", bound=StrEnum)
_EXAMPLES = """examples:
  treeline fleet generate --out fleet
  treeline fleet generate --servers 500 --days 14 --step 60 --seed 1 --out fleet500
  treeline fleet generate --servers 10 --kinds memory_leak,flapping --out two-kinds
  treeline fleet generate --servers 100 --with objectives,deploys --out shop
  treeline fleet generate --servers 100 --with all --out everything
  treeline fleet generate --servers 500 --days 30 --start 2026-11-02 --with bimodal,month-ends --out month

--with adds to the plain fleet, which stays as it is:
  objectives        latency and errors of the services that the servers carry, and when each incident breached them
  deploys           rolling deploys of services; most are harmless, some begin an incident and are rolled back
  month-ends        one and a half to two times the load on the last three days of a month
  bimodal           services that work at 85 to 95 % CPU for hours, every day or on working days
  replaced-servers  servers that begin anew, under a new id or their own, with no history
  disk-leaks        a fifth metric, disk_used_percent, and disks that fill within hours to days
  shared-events     a zone, a network or a dependency that fails for several servers at once
  silent-agents     servers, or single metrics, of which nothing arrives for hours
docs/generated-fleet.md describes the files and each addition.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `treeline fleet`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="generate")
    default = FleetPlan()
    verb = verbs.add_parser(
        "generate",
        help="write a fleet's history (fleet.parquet) and its incidents (incidents.csv); --with adds to it",
        description="Servers of several roles with daily and weekly cycles, nightly jobs, gaps, busy days of the "
        "whole fleet (not incidents), and labelled incidents in the test part.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    verb.add_argument("--servers", type=int, default=default.servers, help="default %(default)s")
    verb.add_argument("--days", type=float, default=default.days, help="train and test together, default %(default)s")
    verb.add_argument("--step", type=int, default=default.step_s, help="seconds between rows, default %(default)s")
    verb.add_argument("--seed", type=int, default=default.seed, help="same seed, same fleet; default %(default)s")
    verb.add_argument("--start", type=moment, default=f"{default.start:%Y-%m-%d}", help="first day (UTC), %(default)s")
    verb.add_argument("--train", type=float, default=default.train_fraction, help="share before incidents, %(default)s")
    verb.add_argument(
        "--incidents", type=float, default=default.incidents_per_server_week, help="a server-week, default %(default)s"
    )
    verb.add_argument("--kinds", default="all", help=f"comma-separated, of {', '.join(IncidentKind)}; default all")
    verb.add_argument(
        "--with", dest="additions", default="", metavar="A,B,..", help="additions (see below), or all; default none"
    )
    verb.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the fleet; progress goes to stderr."""
    plan = FleetPlan(
        servers=args.servers,
        days=args.days,
        step_s=args.step,
        seed=args.seed,
        start=args.start,
        train_fraction=args.train,
        incidents_per_server_week=args.incidents,
        kinds=_chosen(args.kinds, IncidentKind, "--kinds"),
        additions=frozenset(_chosen(args.additions, Addition, "--with")),
    )
    if args.out.exists() and not args.out.is_dir():
        raise UsageError(f"--out {args.out} is a file, expected a folder")
    with DemoScreen(as_json=True).progress() as bar:  # on stderr
        task = bar.add_task("servers", total=plan.servers, note="")
        made = generate(plan, args.out, progress=lambda done, _: bar.update(task, completed=done))
    if args.json:
        body = {
            "data": str(made.data_path),
            "incidents_file": str(made.incidents_path),
            "other_files": [str(path) for path in made.other_paths],
            "servers": made.servers,
            "rows": made.rows,
            "incidents": made.incidents,
        }
        Console().print_json(json.dumps(body))
    else:
        Console().print(
            f"{made.data_path}: {made.rows:,} rows of {made.servers} servers, seed {plan.seed}\n"
            f"{made.incidents_path}: {made.incidents} incidents",
            *made.other_paths,
            sep="\n",
            highlight=False,
        )
    return 0


def _chosen(text: str, choices: type[_Choice], option: str) -> tuple[_Choice, ...]:
    if text == "all":
        return tuple(choices)
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(choices)]
    if unknown:
        raise UsageError(f"{option} has {', '.join(unknown)}, expected some of {', '.join(choices)}, or all")
    return tuple(choices(name) for name in dict.fromkeys(names))
