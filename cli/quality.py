"""`treeline quality`."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.backtest_screen import BacktestScreen
from cli.peers import chosen_peers
from cli.quality_ablation import Ablation
from cli.quality_compare import Comparison
from cli.quality_sets import DATA_FOLDER, DATA_VARIABLE, NAMES, chosen, data_folder, histories
from report.quality_table import Results, markdown, tables
from training.evaluate.experiment import Setup, run_experiment
from training.evaluate.judge import TierQuality, pooled
from training.evaluate.pages import Tier
from training.evaluate.quality import RECORDED, RecordedFigures, figures
from treeline.core.errors import UsageError

EXAMPLES = f"""
examples:
  treeline quality                              every set that is here, and a generated fleet
  treeline quality --data-folder DIR            where the sets are (default: ${DATA_VARIABLE}, else {DATA_FOLDER})
  treeline quality --sets generated --config C  one set, other settings
  treeline quality --markdown                   the README's table on stdout
  treeline quality --compare --markdown         and one a set, with every peer and the usual alarm rules
  treeline quality --sets asd --compare --peers "PCA,static alarms"
  treeline quality --ablation --markdown        and one a set: the forest alone, on and off, at the page budget,
                                                and by the plain rolling z-score
  treeline quality --record                     write the figures down as the ones to hold

Fails (1) where precision or recall of a tier lies below the recorded figure by more than the tolerance, both in
training/evaluate/quality.yaml. Two runs give the same figures."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "The release gate: fixed backtests at the shipped defaults, held against recorded figures."
    parser.epilog = EXAMPLES
    parser.add_argument("--data-folder", type=Path, metavar="DIR", help="folder of the labelled sets")
    parser.add_argument("--sets", metavar="A,B,..", help=f"only these of {', '.join(NAMES)}")
    parser.add_argument("--config", type=Path, metavar="YAML", help="detection.policy and model settings to hold")
    parser.add_argument("--compare", action="store_true", help="run the peers and the usual rules on every set too")
    parser.add_argument("--ablation", action="store_true", help="what each part adds, and what a page budget leaves")
    parser.add_argument("--peers", metavar="A,B,..", help="with --compare: only these")
    parser.add_argument("--recorded", type=Path, default=RECORDED, metavar="YAML", help="figures to hold against")
    parser.add_argument("--record", action="store_true", help="replace the recorded figures by those reached")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="figures as JSON on stdout, the rest on stderr")
    output.add_argument("--markdown", action="store_true", help="the table as Markdown on stdout, the rest on stderr")


def run(args: argparse.Namespace) -> int:
    """Run the sets, show the table, judge."""
    setup = Setup.read(args.config) if args.config else Setup()
    record = RecordedFigures.read(args.recorded)
    if args.peers is not None and not args.compare:
        raise UsageError("--peers chooses what --compare runs: give both")
    screen = BacktestScreen(as_json=args.json or args.markdown)
    beside = Comparison(names=chosen_peers(args.peers, screen.note) if args.compare else (), setup=setup)
    parts = Ablation(setup=setup)
    results: dict[str, Mapping[Tier, TierQuality]] = {}
    for name in chosen(args.sets):
        each: dict[str, Mapping[Tier, TierQuality]] = {}
        for fleet, history in histories(name, data_folder(args.data_folder), screen.note):
            with screen.progress() as tell:
                outcome, past, package = run_experiment(history, setup, with_measures=args.ablation, progress=tell)
                if args.ablation:
                    parts.add(name, fleet, history, outcome, package, progress=tell)
                beside.add(name, fleet, history, past, outcome, note=screen.note, progress=tell)
            each[fleet] = outcome.evaluations
        if each:
            results[name] = {tier: pooled({fleet: e[tier] for fleet, e in each.items()}) for tier in Tier}
            p1, every = (results[name][tier] for tier in (Tier.P1, Tier.ALL))
            screen.note(f"{name}: hits P1 {p1.hits}, P1 and P2 {every.hits} of {every.labels}")
    if not results:
        raise UsageError(f"none of the sets is here; --data-folder or {DATA_VARIABLE} says where they are")
    reached = {name: figures(evaluations) for name, evaluations in results.items()}
    for table in tables(results):
        screen.console.print(table)
    for name, variants in parts.results().items():
        for table in tables(variants, named=f"on {name}", intervals=False):
            screen.console.print(table)
    compared = beside.results()
    for name, detectors in compared.items():
        for table in tables(detectors, named=f"on {name}", intervals=False):
            screen.console.print(table)
        for line in beside.notes[name]:
            screen.note(line)
    if args.json:
        print(_json(reached, beside if args.compare else None, parts if args.ablation else None))
    if args.markdown:
        _print_markdown(results, beside, parts)
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


def _json(reached: Mapping[str, Any], beside: Comparison | None, parts: Ablation | None) -> str:
    """The figures of every set, and of what was run beside it."""
    body = dict(reached)
    for name, found in (("compared", beside), ("ablation", parts)):
        if found is not None:
            body[name] = {
                on: {detector: figures(e) for detector, e in rows.items()} for on, rows in found.results().items()
            }
    return json.dumps(body, indent=1)


def _print_markdown(results: Results, beside: Comparison, parts: Ablation) -> None:
    print(markdown(results))
    for name, variants in parts.results().items():
        print(f"\n{markdown(variants, named=f'on {name}')}")
    for name, detectors in beside.results().items():
        print(f"\n{markdown(detectors, named=f'on {name}')}", *beside.notes[name], sep="\n\n")
