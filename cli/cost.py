"""`treeline cost`: what a stage costs a month, line by line, before anything is deployed."""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pricing.lines import FREE_DASHBOARDS, Capacity, CostLine, Prices, Stage, lines, resource_types
from pricing.load import Shape, month
from stacks.config import stage as config
from stacks.config.stage import StageConfig
from stacks.synthesize import synthesize
from treeline.core.arrays import Home
from treeline.core.errors import UsageError
from treeline.core.expectation import rolling_limits
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import todays_layout
from treeline.settings import outputs

TARGET = 0.40  # dollars per server-month at TARGET_SERVERS
TARGET_SERVERS = 500
_EXAMPLES = """examples:
  treeline cost --stage prod                                  500 servers, every 30 s
  treeline cost --stage prod --servers 50 5000 50000          several fleets side by side
  treeline cost --stage mine --interval 60 --json             for a script

Further profiles of the stage are priced too: as many servers each, at the profile's step_s where it has one.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `treeline cost`."""
    parser.description = "Price the synthesized templates of a stage and the load of a fleet; needs no account."
    parser.epilog = _EXAMPLES
    parser.add_argument("--stage", default="dev", help="a file in config/ (default %(default)s)")
    parser.add_argument("--servers", type=int, nargs="+", default=[500], metavar="N", help="default: 500")
    parser.add_argument(
        "--interval", type=int, default=30, metavar="S", help="seconds between observations of a server"
    )
    parser.add_argument(
        "--assembly", type=Path, metavar="DIR", help="a synthesized assembly of the stage; else it is made"
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the bill; 0."""
    if args.interval < 1 or min(args.servers) < 1:
        raise UsageError("--servers and --interval must be at least 1")
    stage = config.load(args.stage)
    prices = Prices.read()
    with tempfile.TemporaryDirectory(prefix="treeline-cost-") as scratch:
        folder = args.assembly or synthesize(Path(scratch), args.stage, asset_platform="host")
        kinds = {profile.further: resource_types(_templates(folder, profile)) for profile in stage.all_profiles}
    bills = {n: whole_bill(stage, kinds, prices, servers=n, interval_s=args.interval) for n in args.servers}
    if args.json:
        print(json.dumps({"stage": args.stage, "interval_s": args.interval, "prices": prices.date,
                          "fleets": [_told(n, found) for n, found in bills.items()]}))  # fmt: skip
        return 0
    _show(args, bills, prices, Console())
    return 0


def whole_bill(
    stage: StageConfig, kinds: Mapping[str, dict[str, int]], prices: Prices, *, servers: int, interval_s: int
) -> list[CostLine]:
    """A month's lines of every profile for a fleet, dearest first; those of further profiles say whose they are."""
    found = bill(stage, kinds[""], prices, servers=servers, interval_s=interval_s)
    for profile in stage.further_profiles:
        own = bill(profile, kinds[profile.further], prices, servers=servers, interval_s=profile.step_s or interval_s)
        found += [replace(line, item=f"{profile.further}: {line.item}") for line in own]
    return sorted(found, key=lambda line: -line.dollars)


def bill(stage: StageConfig, kinds: dict[str, int], prices: Prices, *, servers: int, interval_s: int) -> list[CostLine]:
    """A month's lines of one profile for a fleet; shards grow with it, as one takes 1,000 records/s."""
    needed = -(-servers // (interval_s * 800))
    shape = Shape(
        servers=servers,
        interval_s=interval_s,
        metrics=len(stage.metrics),
        group_size=stage.group_size,
        shards=max(stage.stream.shards, needed),
        batch_size=stage.stream.batch_size,
        batching_window_s=stage.stream.batching_window_s,
        late_window_s=stage.detection.late_window_s,
        heartbeat=stage.ticks.heartbeat,
        has_table=not stage.detection.trained_window_s,
    )
    state = FleetState(
        shape.metrics,
        servers=[f"server-{i:04d}" for i in range(shape.group_size)],
        layout=todays_layout(stage.detection.trained_window_s, rolling_limits.parts_for(shape.metrics)),
    )
    load = month(shape, state_bytes=len(state.pack(Home.STATE)))
    # One invocation of the endpoint a run and 50 rows; an instance takes promotion.invocations_per_instance a minute.
    per_minute = load.commits / (730 * 60)
    instances = max(stage.promotion.instances, -(-per_minute // stage.promotion.invocations_per_instance))
    functions = stage.functions
    return lines(
        kinds,
        Stage(
            shape=shape,
            retention_h=stage.stream.retention_h,
            ttl_s=stage.records.observation_ttl_s,
            score_ttl_s=stage.detection.score_ttl_s,
            log_days=stage.logs.retention_days,
            capacities={
                name: Capacity(
                    provisioned=table.capacity == "provisioned",
                    min_units=table.min_units,
                    utilization=table.utilization_percent / 100,
                )
                for name in ("observations", "detector_state", "scores")
                for table in (getattr(stage.tables, name),)
            },
            instance_type=stage.promotion.instance_type,
            instances=int(instances),
            training_type=stage.learning.training.instance_type,
            processing_type=stage.learning.training.processing_instance_type,
            memory_mb={
                name: getattr(functions, name).memory_mb for name in ("ingest", "detect", "dispatch", "reprocess")
            },
            is_embedded=stage.is_embedded,
            may_embed=stage.learning.algorithm == "container",
            free_dashboards=0 if stage.further else FREE_DASHBOARDS,
        ),
        load,
        prices,
    )


def _templates(folder: Path, stage: StageConfig) -> Sequence[dict[str, Any]]:
    """Of one profile; what all share is with the servers'."""
    parts = [outputs.part_of(part, stage.further) for part in outputs.OF_PROFILE] if stage.further else outputs.PARTS
    return [
        json.loads((folder / f"Treeline-{stage.stage}-{part}.template.json").read_text(encoding="utf-8"))
        for part in parts
    ]


def _told(servers: int, found: Sequence[CostLine]) -> dict[str, Any]:
    total = sum(line.dollars for line in found)
    return {
        "servers": servers,
        "dollars_month": round(total, 2),
        "dollars_server_month": round(total / servers, 4),
        "lines": [asdict(line) for line in found],
    }


def _show(args: argparse.Namespace, bills: dict[int, list[CostLine]], prices: Prices, console: Console) -> None:
    console.print(
        f"Stage {args.stage}, an observation every {args.interval} s, prices of {prices.date} (us-east-1, USD)"
    )
    for servers, found in bills.items():
        total = sum(line.dollars for line in found)
        table = Table(title=f"{servers:,} servers", title_justify="left")
        for name in ("line", "a month", "share", "amount", "what would halve it"):
            table.add_column(name, justify="right" if name in ("a month", "share") else "left")
        for line in found:
            table.add_row(line.item, f"{line.dollars:,.2f}", f"{line.dollars / total:.0%}", line.amount, line.halve)
        table.add_section()
        table.add_row("[bold]all", f"[bold]{total:,.2f}", "", f"[bold]{total / servers:.3f} per server-month", "")
        console.print(table)
    sources = "; ".join(f"{key}: {text}" for key, text in prices.sources.items())
    console.print(
        "[dim]Assumed: servers report evenly over the interval; durations, log sizes and the number of metric series "
        f"as in pricing/lines.py. Not measured on AWS. Price sources: {sources}.[/dim]"
    )
