"""`treeline quality`."""

import argparse
import json
from collections.abc import Mapping
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from cli.backtest_screen import BacktestScreen
from cli.peers import chosen_peers
from cli.quality_ablation import Ablation
from cli.quality_compare import Comparison
from cli.quality_sets import DATA_FOLDER, DATA_VARIABLE, NAMES, chosen, data_folder, histories
from report.quality_table import Results, band_markdown, band_table, kind_table, markdown, tables
from training.evaluate.bands import BandQuality, judge_bands
from training.evaluate.decide_again import DetectedFleet, Evaluations, pooled_tiers
from training.evaluate.experiment import Setup, run_experiment
from training.evaluate.page_budget import within_budget
from training.evaluate.pages import Tier
from training.evaluate.quality import RECORDED, Figures, RecordedFigures, SetQuality, figures
from treeline.core.errors import UsageError

EXAMPLES = f"""
examples:
  treeline quality                              every set that is here, and a generated fleet
  treeline quality --data-folder DIR            where the sets are (default: ${DATA_VARIABLE}, else {DATA_FOLDER})
  treeline quality --sets generated --config C  one set, other settings
  treeline quality --markdown                   the README's table on stdout
  treeline quality --compare --markdown         and one a set, with every peer and the usual alarm rules
  treeline quality --sets asd --compare --peers "PCA,static alarms"
  treeline quality --ablation --markdown        and one a set: the forest alone, on and off, and by the plain rolling
                                                z-score
  treeline quality --record                     write the figures down as the ones to hold

The table has each set twice: as shipped, and what is left where thresholds are raised until false pages keep to the
budget of production. A second one says how many normal values lay outside the band that people are shown.

Fails (1) where precision or recall of a tier lies below the recorded figure by more than the tolerance, both in
training/evaluate/quality.yaml; where an incident opened with no metric outside its band; and where a band has an edge
that its metric cannot have. Two runs give the same figures."""

AT_BUDGET = "budget"
BUDGET = "one false P1 a week and two false P2 a day for 500 servers"


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "The release gate: fixed backtests at the shipped defaults, held against recorded figures."
    parser.epilog = EXAMPLES
    parser.add_argument("--data-folder", type=Path, metavar="DIR", help="folder of the labelled sets")
    parser.add_argument("--sets", metavar="A,B,..", help=f"only these of {', '.join(NAMES)}")
    parser.add_argument("--config", type=Path, metavar="YAML", help="detection.policy and model settings to hold")
    parser.add_argument("--compare", action="store_true", help="run the peers and the usual rules on every set too")
    parser.add_argument("--ablation", action="store_true", help="what each part adds")
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
    parts = Ablation() if args.ablation else None
    folder = data_folder(args.data_folder)
    run_sets = {name: _run_set(name, folder, setup, screen, beside, parts) for name in chosen(args.sets)}
    results = {name: found for name, found in run_sets.items() if found is not None}
    if not results:
        raise UsageError(f"none of the sets is here; --data-folder or {DATA_VARIABLE} says where they are")
    _show(results, screen, beside, parts)
    reached = {name: found.to_json() for name, found in results.items()}
    if args.json:
        body = reached | ({"compared": _figures(beside.results())} if args.compare else {})
        print(json.dumps(body | ({} if parts is None else {"ablation": _figures(parts.results())}), indent=1))
    if args.markdown:
        _print_markdown(results, beside, parts)
    if args.record:
        record.with_figures(reached).write(args.recorded)
        screen.note(f"recorded in {args.recorded}")
        return 0
    return _judged(results, reached, record, screen)


def _run_set(
    name: str, folder: Path, setup: Setup, screen: BacktestScreen, beside: Comparison, parts: Ablation | None
) -> SetQuality | None:
    """What a set comes to; None where its files are not here."""
    each: dict[str, Evaluations] = {}
    fleets: dict[str, DetectedFleet] = {}
    bands: list[BandQuality] = []
    for fleet, history in histories(name, folder, screen.note):
        with screen.progress() as tell:
            outcome, past, package = run_experiment(history, setup, with_bands=True, with_measures=True, progress=tell)
            each[fleet] = outcome.evaluations
            fleets[fleet] = DetectedFleet.of(package, history, outcome, setup)
            if parts is not None:
                parts.add(name, fleet, outcome.evaluations, fleets[fleet], progress=tell)
            beside.add(name, fleet, history, past, outcome, note=screen.note, progress=tell)
        if (shown := outcome.backtest.trace.bands) is not None:
            bands.append(judge_bands(outcome.grid, shown, outcome.openings, history.incidents, history.protocol))
    if not each:
        return None
    with screen.spinner(f"{name}: the page budget"):
        left = within_budget(fleets)
    found = SetQuality(evaluations=pooled_tiers(each), at_budget=left, bands=reduce(add, bands))
    p1, every = (found.evaluations[tier] for tier in (Tier.P1, Tier.ALL))
    screen.note(f"{name}: hits P1 {p1.hits}, P1 and P2 {every.hits} of {every.labels}")
    return found


def _rows(results: Mapping[str, SetQuality]) -> Results:
    """Two rows a set: as it ships, and at the page budget."""
    rows: dict[str, Evaluations] = {}
    for name, found in results.items():
        rows |= {name: found.evaluations, f"{name}, {AT_BUDGET}": found.at_budget}
    return rows


def _show(
    results: Mapping[str, SetQuality], screen: BacktestScreen, beside: Comparison, parts: Ablation | None
) -> None:
    for table in tables(_rows(results)):
        screen.console.print(table)
    screen.console.print(f"  [dim]{AT_BUDGET}: what is left where thresholds are raised until {BUDGET} are kept[/]")
    screen.console.print(band_table({name: found.bands for name, found in results.items()}))
    for name, found in results.items():
        if (kinds := kind_table(found.evaluations[Tier.ALL], of=name)) is not None:
            screen.console.print(kinds)
    for name, variants in ({} if parts is None else parts.results()).items():
        for table in tables(variants, named=f"on {name}", intervals=False):
            screen.console.print(table)
    for name, detectors in beside.results().items():
        for table in tables(detectors, named=f"on {name}", intervals=False):
            screen.console.print(table)
        for line in beside.notes[name]:
            screen.note(line)


def _judged(
    results: Mapping[str, SetQuality], reached: Mapping[str, Figures], record: RecordedFigures, screen: BacktestScreen
) -> int:
    """The exit code: 1 where a figure is worse than recorded, or a band or a page is what it must not be."""
    faults = [f"{name}: {fault}" for name, found in results.items() for fault in found.bands.faults]
    worse = [f"[bold red]worse than recorded[/] {shortfall}" for shortfall in record.shortfalls(reached)]
    for line in (*(f"[bold red]wrong[/] {fault}" for fault in faults), *worse):
        screen.console.print(line)
    unrecorded = [name for name in reached if name not in record.sets]
    if unrecorded:
        screen.note(f"nothing recorded for {', '.join(unrecorded)}: not judged")
    if not worse:
        screen.console.print("[green]No figure is worse than recorded.[/]")
    return 1 if worse or faults else 0


def _figures(results: Mapping[str, Results]) -> dict[str, Any]:
    return {on: {detector: figures(e) for detector, e in rows.items()} for on, rows in results.items()}


def _print_markdown(results: Mapping[str, SetQuality], beside: Comparison, parts: Ablation | None) -> None:
    print(markdown(_rows(results)))
    print(f"\n{band_markdown({name: found.bands for name, found in results.items()})}")
    for name, variants in ({} if parts is None else parts.results()).items():
        print(f"\n{markdown(variants, named=f'on {name}')}")
    for name, detectors in beside.results().items():
        print(f"\n{markdown(detectors, named=f'on {name}')}", *beside.notes[name], sep="\n\n")
