"""`treeline backtest`."""

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from cli.backtest_screen import BacktestScreen
from cli.peers import chosen_peers, judged_peers, rule_notes
from cli.times import moment
from report.backtest.results import backtest_report, summary
from report.page import write_report
from training.evaluate.experiment import ExperimentOutcome, Setup, run_experiment
from training.history.files import History, open_history
from training.history.grid import Grid
from treeline.core.errors import UsageError

EXAMPLES = """
examples:
  treeline backtest --data fleet.parquet --incidents incidents.csv
  treeline backtest --data fleet.parquet --incidents incidents.csv --compare --html backtest.html
  treeline backtest --data fleet.parquet --incidents incidents.csv --train-until 2026-10-26 --json result.json
  treeline backtest --data realAWSCloudwatch.parquet --incidents nab/incidents.csv      (NAB's series and windows)

A history is parquet with timestamp, server_id, one column a metric and optionally split (train, test); incidents are a
CSV with server_id, start, end (inclusive). Without --train-until or --train-fraction the split column decides, and
without one the first half is trained on. The labels are only used to judge, never to fit.
A page is right when it comes at the onset of a label or later, within 10 minutes beside it; one that comes when the
trouble ends (the last tenth) is false, like any other. Labels under an hour apart are one; further pages on the same
label count neither way. Servers that open in one step are one page, from three and a tenth of the fleet on. Nothing is
point-adjusted.
Listed are every page (what it was worth, where in the label it came, the channel that decided with its measure and
threshold, the metric farthest outside its band among the observations that the rule counted, and when), what the
servers' own earlier peaks held back, and every miss (the highest severity inside the label, its farthest metric, why it
did not page).
Exit codes: 0 done, 1 failed, 2 wrong use."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Run the detector over a history, without any cloud, and judge its pages against labels."
    parser.epilog = EXAMPLES
    parser.add_argument("--data", type=Path, required=True, metavar="PARQUET", help="history file or folder")
    parser.add_argument("--incidents", type=Path, metavar="CSV", help="its labelled incidents; without: pages only")
    parser.add_argument("--config", type=Path, metavar="YAML", help="a stage's file: its detection and model hold")
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--train-until", type=moment, metavar="DATE", help="detect from here on (ISO 8601, UTC)")
    split.add_argument("--train-fraction", type=_share, metavar="F", help="train on this share of the time, 0 to 1")
    parser.add_argument("--servers", metavar="A,B,..", help="only these")
    parser.add_argument("--compare", action="store_true", help="run the peers and the usual rules too")
    parser.add_argument("--peers", metavar="A,B,..", help="with --compare: only these")
    parser.add_argument("--seed", type=int, default=7, help="of the training rows (default 7)")
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="every figure, page, label and miss as JSON; - for stdout"
    )
    parser.add_argument(
        "--html",
        "--report",
        dest="html",
        type=Path,
        metavar="OUT.html",
        help="one page on which every hit, miss and false page is drawn with its metrics (--report is its old name)",
    )


def run(args: argparse.Namespace) -> int:
    """Check the options, run, and show the figures."""
    for name in ("json", "html"):
        path: Path | None = getattr(args, name)
        if path is not None and str(path) != "-" and not path.absolute().parent.is_dir():
            raise UsageError(f"--{name} {path}: the folder {path.absolute().parent} does not exist")
    if args.html is not None and args.html.is_dir():
        raise UsageError(f"--html {args.html} is a folder, expected a file name such as backtest.html")
    setup = Setup.read(args.config, seed=args.seed) if args.config else Setup(seed=args.seed)
    if args.peers is not None and not args.compare:
        raise UsageError("--peers chooses what --compare runs: give both")
    screen = BacktestScreen(as_json=str(args.json) == "-")
    began = perf_counter()
    with screen.spinner(f"reading {args.data}"):
        history = open_history(
            args.data,
            args.incidents,
            servers=None if args.servers is None else [name for name in args.servers.split(",") if name],
            **_split(args),
        )
    screen.opened(history)
    with screen.progress() as tell:
        outcome, past, package = run_experiment(history, setup, with_bands=True, progress=tell)
    screen.result(history, outcome)
    outcomes = [outcome]
    if args.compare:
        outcomes += _compare(args, history, past, outcome.grid, setup, screen)
        screen.comparison(outcomes)
    body = summary(history, outcomes, past, package, setup, seconds=perf_counter() - began)
    if args.json is not None:
        _write_json(args.json, body)
    if args.html is not None:
        with screen.spinner("drawing the page"):
            write_report(args.html, backtest_report(history, outcomes, body))
        screen.note(f"{args.html} draws each hit, miss and false page")
    return 0


def _compare(
    args: argparse.Namespace, history: History, past: Grid, present: Grid, setup: Setup, screen: BacktestScreen
) -> list[ExperimentOutcome]:
    names = chosen_peers(args.peers, screen.note)
    for line in rule_notes(names, present):
        screen.note(line)
    with screen.progress() as tell:
        judged = judged_peers(names, history, past, present, setup, note=screen.note, progress=tell)
        done = {outcome.name: outcome for outcome in judged}
    return [done[name] for name in names]


def _split(args: argparse.Namespace) -> Mapping[str, Any]:
    given: dict[str, Any] = {}
    if args.train_until is not None:
        given["split_at"] = args.train_until
    if args.train_fraction is not None:
        given["train_fraction"] = args.train_fraction
        given["by_fraction"] = True
    return given


def _write_json(path: Path, body: Mapping[str, Any]) -> None:
    text = json.dumps(body, indent=1, allow_nan=False) + "\n"
    if str(path) == "-":
        print(text, end="")
    else:
        path.write_text(text, encoding="utf-8")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0.0 < share < 1.0:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return share
