"""`treeline quality`."""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.table import Table

from cli.backtest_screen import BacktestScreen, minutes
from demo.fleet.generate import generate
from demo.fleet.plan import FleetPlan
from training.evaluate.experiment import Setup, run_experiment
from training.evaluate.judge import Interval, Tier, TierQuality
from training.evaluate.quality import GENERATED, RECORDED, SHARED, RecordedFigures, figures, markdown
from training.history.files import History, open_history
from treeline.core.errors import UsageError

DATA_VARIABLE = "TREELINE_DATA"
DATA_FOLDER = Path("../shared/data")
# Small enough to run anywhere; the month-end load of the 30th and 31st, which is no incident, lies in the test part.
PLAN = FleetPlan(
    servers=24, days=14.0, step_s=300, seed=11, start=datetime(2026, 10, 19, tzinfo=UTC), incidents_per_server_week=2.0
)
EXAMPLES = f"""
examples:
  treeline quality                              every set that is here, and a generated fleet
  treeline quality --data-folder DIR            where the sets are (default: ${DATA_VARIABLE}, else {DATA_FOLDER})
  treeline quality --sets generated --config C  one set, other settings
  treeline quality --markdown                   the README's table on stdout
  treeline quality --record                     write the figures down as the ones to hold

Fails (1) where precision or recall of a tier lies below the recorded figure by more than the tolerance, both in
training/evaluate/quality.yaml. Two runs give the same figures."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "The release gate: fixed backtests at the shipped defaults, held against recorded figures."
    parser.epilog = EXAMPLES
    parser.add_argument("--data-folder", type=Path, metavar="DIR", help="folder of the labelled sets")
    names = [*(s.name for s in SHARED), GENERATED]
    parser.add_argument("--sets", metavar="A,B,..", help=f"only these of {', '.join(names)}")
    parser.add_argument("--config", type=Path, metavar="YAML", help="detection.policy and model settings to hold")
    parser.add_argument("--recorded", type=Path, default=RECORDED, metavar="YAML", help="figures to hold against")
    parser.add_argument("--record", action="store_true", help="replace the recorded figures by those reached")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="figures as JSON on stdout, the rest on stderr")
    output.add_argument("--markdown", action="store_true", help="the table as Markdown on stdout, the rest on stderr")


def run(args: argparse.Namespace) -> int:
    """Run the sets, show the table, judge."""
    setup = Setup.read(args.config) if args.config else Setup()
    record = RecordedFigures.read(args.recorded)
    screen = BacktestScreen(as_json=args.json or args.markdown)
    results: dict[str, Mapping[Tier, TierQuality]] = {}
    for name in _chosen(args.sets):
        with _history(name, _folder(args.data_folder), screen) as history:
            if history is None:
                continue
            with screen.progress() as tell:
                outcome, _, _ = run_experiment(history, setup, progress=tell)
            results[name] = outcome.evaluations
            screen.note(f"{name}: {sum(e.hits for e in outcome.evaluations.values())} hits in both tiers")
    if not results:
        raise UsageError(f"none of the sets is here; --data-folder or {DATA_VARIABLE} says where they are")
    reached = {name: figures(evaluations) for name, evaluations in results.items()}
    screen.console.print(_table(results))
    if args.json:
        print(json.dumps(reached, indent=1))
    if args.markdown:
        print(markdown(results))
    if args.record:
        record.with_figures(reached).write(args.recorded)
        screen.note(f"recorded in {args.recorded}")
        return 0
    shortfalls = list(record.shortfalls(reached))
    for shortfall in shortfalls:
        screen.console.print(f"[bold red]worse than recorded[/] {shortfall}")
    unrecorded = [name for name in reached if name not in record.sets]
    if unrecorded:
        screen.note(f"nothing recorded for {', '.join(unrecorded)}: not judged")
    if not shortfalls:
        screen.console.print("[green]No figure is worse than recorded.[/]")
    return 1 if shortfalls else 0


def _chosen(names: str | None) -> list[str]:
    known = [*(s.name for s in SHARED), GENERATED]
    if names is None:
        return known
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise UsageError(f"--sets has {', '.join(unknown) or 'no name'}; there are {', '.join(known)}")
    return chosen


def _folder(given: Path | None) -> Path:
    if given is None:
        return Path(os.environ.get(DATA_VARIABLE) or DATA_FOLDER)
    if not given.is_dir():
        raise UsageError(f"--data-folder {given} is not a folder")
    return given


@contextmanager
def _history(name: str, folder: Path, screen: BacktestScreen) -> Iterator[History | None]:
    """The set's history; None, with a note on the screen, where it is not here."""
    if name == GENERATED:
        with tempfile.TemporaryDirectory(prefix="treeline-quality-") as temporary:
            with screen.spinner("generating a fleet"):
                made = generate(PLAN, Path(temporary))
            yield open_history(made.data_path, made.incidents_path)
        return
    shared = next(s for s in SHARED if s.name == name)
    data, incidents = folder / shared.data, folder / shared.incidents
    if data.exists() and incidents.exists():
        yield open_history(data, incidents)
    else:
        screen.note(f"{name} left out: {data} is not here")
        yield None


def _table(results: Mapping[str, Mapping[Tier, TierQuality]]) -> Table:
    table = Table(title="Incident by incident, 95 % intervals", title_justify="left", box=box.SIMPLE)
    for column in ("set", "pages"):
        table.add_column(column, no_wrap=True)
    for column in ("hit", "false", "precision", "recall", "F1", "false/sd", "delay"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, evaluations in results.items():
        for tier, e in evaluations.items():
            rate = "-" if e.false_pages_per_server_day is None else f"{e.false_pages_per_server_day:.3f}"
            f1 = "-" if e.f1 is None else f"{e.f1:.2f}"
            table.add_row(
                name if tier is Tier.P1 else "",
                tier.value,
                f"{e.hits}/{e.labels}",
                str(e.false_openings),
                _figure(e.precision, e.precision_ci),
                _figure(e.recall, e.recall_ci),
                f1,
                rate,
                minutes(e.delay_p50_s),
            )
    return table


def _figure(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + ("" if interval is None else f"\n[dim]{interval.low:.2f}-{interval.high:.2f}[/]")
