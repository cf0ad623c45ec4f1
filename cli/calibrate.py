"""`treeline calibrate`: thresholds that keep a page budget on the fleet's own unlabelled past."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.backtest_screen import BacktestScreen
from cli.deployment import LOCAL_PORT, DeployedStage, add_profile, reaching
from cli.overridden_stage import OverriddenStage
from training.evaluate.backtest import backtest
from training.evaluate.calibrate import Budget, Solution, solve
from training.evaluate.experiment import Setup, fit_model, groups_of
from training.history.files import open_history
from training.history.grid import Grid, grid_of
from training.prepare.calibrating import FITTED, Score
from training.processes import Progress as Tell
from treeline.core.channels import novelty
from treeline.core.detection.calibration import Calibration
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import read_model_tar, write_model_tar

EXAMPLES = """
examples:
  treeline calibrate --data fleet.parquet --budget "1 P1 and 2 P2 per server-month"
  treeline calibrate --data fleet.parquet --budget "3 P1 and 10 P2 per fleet-week" \\
      --out package.zip --model-out model.tar.gz
  treeline calibrate --data fleet.parquet --budget "1 P1 and 2 P2 per server-month" \\
      --package package.zip --model model.tar.gz --out calibrated.zip
  treeline calibrate --data fleet.parquet --budget "1 P1 and 2 P2 per server-month" --stage prod --out solved.zip

Labels are neither needed nor read. A budget raises thresholds and never lowers them below what training gave: the past
may hold real incidents. Without --package a model is trained on the history first, as `treeline backtest` does; with
--stage it is the one that decides there, and `treeline threshold apply solved.zip` makes the stage decide by what came.
Exit codes: 0 done, 1 failed, 2 wrong use."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Solve the thresholds of P1 and P2 from a page budget, on a fleet's unlabelled history."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PARQUET",
        help="unlabelled history (of one with a split column the train part)",
    )
    parser.add_argument("--budget", required=True, metavar="TEXT", help='such as "1 P1 and 2 P2 per server-month"')
    parser.add_argument("--package", type=Path, metavar="P", help="calibrate this model package (needs --model)")
    parser.add_argument("--model", type=Path, metavar="TAR", help="its forest, model.tar.gz")
    parser.add_argument("--stage", metavar="S", help="calibrate the model that decides on this stage, or local")
    parser.add_argument("--port", type=int, default=LOCAL_PORT, help="of the embedded cloud, with --stage local")
    add_profile(parser)
    parser.add_argument("--out", type=Path, metavar="P2", help="write the package with the solved thresholds")
    parser.add_argument("--model-out", type=Path, metavar="TAR", help="write the forest trained here")
    parser.add_argument("--seed", type=int, default=7, help="of the training rows (default 7)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Check the options, solve, show."""
    if (args.package is None) != (args.model is None):
        raise UsageError("--package and --model belong together: the thresholds are those of one forest")
    if args.stage is not None and (args.package is not None or args.model_out is not None):
        raise UsageError("--stage brings its own package and forest: leave --package, --model and --model-out out")
    for name in ("out", "model_out"):
        path: Path | None = getattr(args, name)
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"--{name.replace('_', '-')} {path}: the folder {path.absolute().parent} does not exist")
    Budget.parse(args.budget, servers=1)  # refused before the work, not after it
    setup = Setup(seed=args.seed)
    history = open_history(args.data)
    budget = Budget.parse(args.budget, servers=len(history.servers))
    with BacktestScreen(as_json=True).progress() as tell:
        past = grid_of(history, part="train" if history.split_by == "column" else "all")
        forest: RandomCutForest | None = None
        if args.stage is not None:
            package, score = _of_stage(args)
        elif args.package is None:
            package, forest = fit_model(past, setup, model_version="calibrated", progress=tell)
            score = forest.score
        else:
            package, forest = _load(args.package, args.model)
            score = forest.score
        package.require_metrics(history.metrics)
        solution = calibrated(package, score, past, budget, setup, tell)
    if args.out is not None:
        manifest = {**package.manifest, "page_budget": solution.to_json()}
        written = replace(package, calibration=solution.calibration, manifest=manifest)
        args.out.write_bytes(written.to_bytes())
    if args.model_out is not None and forest is not None:
        args.model_out.write_bytes(write_model_tar(forest))
    if args.json:
        json.dump({"model_version": package.model_version, **solution.to_json()}, sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        show(solution, Console(), as_fitted(package))
    return 0


def calibrated(package: ModelPackage, score: Score, past: Grid, budget: Budget, setup: Setup, tell: Tell) -> Solution:
    """Replay a past through a package under the thresholds it was trained with, and solve them to a budget."""
    shipped = replace(package, calibration=as_fitted(package), seeds=at_the_start(package.seeds))
    groups = groups_of(past, setup.group_size)
    done = backtest(shipped, past, score, setup.policy, groups=groups, progress=tell)
    return solve(past.times_ms, done.trace.severity, shipped.calibration, budget, setup.policy)


def as_fitted(package: ModelPackage) -> Calibration:
    """The thresholds that training gave the fleet, whatever an earlier budget made of them."""
    fitted = package.manifest.get(FITTED)
    return Calibration.from_json(fitted) if isinstance(fitted, dict) else package.calibration


def at_the_start(seeds: FleetState) -> FleetState:
    """The seeds as if nothing had been seen yet: what they learned stays, what they remember of moments goes."""
    start = seeds.copy()
    for name in ("last_at", "seen_at", "habit_slot", "slot", "peak_hour"):
        getattr(start, name)[:] = NEVER
    for name in ("habit", "habit_recent", "relation_recent", "slot_count"):
        getattr(start, name)[:] = 0.0
    start.peak[:], start.peak_hours[:] = novelty.LEAST, novelty.LEAST
    return start


def _of_stage(args: argparse.Namespace) -> tuple[ModelPackage, Score]:
    """The model that decides on a stage, and its forest: the artifact where it is ours, else the endpoint."""
    with reaching(DeployedStage.of(args)) as deployment:
        package = OverriddenStage.of(deployment).package
        return package, deployment.forest(package.model_version)[0]


def _load(package: Path, model: Path) -> tuple[ModelPackage, RandomCutForest]:
    try:
        return ModelPackage.from_bytes(package.read_bytes()), read_model_tar(model.read_bytes())
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error


def show(solution: Solution, console: Console, shipped: Calibration) -> None:
    """Two tables: pages per server-month by tier, thresholds by channel."""
    pages = Table(title=f"{solution.budget.text}, over {solution.server_days:.0f} server-days of unlabelled past")
    for name in ("tier", "budget", "as trained", "expected", "binding"):
        pages.add_column(name, justify="left" if name in ("tier", "binding") else "right")
    for tier in solution.tiers:
        pages.add_row(
            tier.tier.value,
            *(f"{30 * value:.2f}" for value in (tier.budget, tier.shipped, tier.expected)),
            "the budget" if tier.is_budget_binding else "the trained threshold",
        )
    pages.caption = "pages per server-month; the past counted as quiet"
    console.print(pages)
    thresholds = Table(title="k by channel, in each channel's own standard deviations")
    for name in ("channel", "P2 as trained", "P2", "P1 as trained", "P1"):
        thresholds.add_column(name, justify="left" if name == "channel" else "right")
    for name, old in shipped.thresholds.items():
        new = solution.calibration[name]
        thresholds.add_row(name, *(f"{value:.2f}" for value in (old.p2, new.p2, old.p1, new.p1)))
    console.print(thresholds)
