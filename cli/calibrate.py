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
from stacks.config.stage import StageConfig, load
from training.evaluate.budget import Budget
from training.evaluate.calibrate import MOST_DECADES, Solution, as_fitted, calibrated, within
from training.evaluate.experiment import Setup, fit_model, groups_of
from training.history.files import open_history
from training.history.grid import grid_of
from training.prepare.calibrating import Score
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.expectation.local_time import Zones
from treeline.core.model.package import ModelPackage
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import read_model_tar, write_model_tar

EXAMPLES = """
examples:
  treeline calibrate --data fleet.parquet --budget "1 P1 and 2 P2 per server-month"
  treeline calibrate --data fleet.parquet --budget "3 P1 and 10 P2 per fleet-week" \\
      --out package.zip --model-out model.tar.gz
  treeline calibrate --data fleet.parquet --budget "1 P1 and 2 P2 per server-month" \\
      --package package.zip --model model.tar.gz --out calibrated.zip
  treeline calibrate --data fleet.parquet --config config/prod.yaml --budget "1 P1 and 2 P2 per server-month"
  treeline calibrate --data fleet.parquet --stage prod --out solved.zip     to the stage's own learning.page_budget

Labels are neither needed nor read. A budget raises thresholds and never lowers them below what training gave, and
raises none to pages more than a hundred times rarer: the past may hold real incidents. Where the budget expects less
than about one page in the whole past, nothing is raised. Without --package a model is trained on the history first, as
`treeline backtest` does; with --stage it is the one that decides there, and `treeline threshold apply solved.zip` makes
the stage decide by what came.
Policy, time zone and what a model trained here expects are --config's, else those of the stage's file in this checkout
(with --stage, under the policy that an override gives), else the defaults. A package says itself what it expects.
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
    parser.add_argument(
        "--budget",
        metavar="TEXT",
        help='such as "1 P1 and 2 P2 per server-month"; with --stage by default what its file has in this checkout',
    )
    parser.add_argument("--package", type=Path, metavar="P", help="calibrate this model package (needs --model)")
    parser.add_argument("--model", type=Path, metavar="TAR", help="its forest, model.tar.gz")
    parser.add_argument("--stage", metavar="S", help="calibrate the model that decides on this stage, or local")
    parser.add_argument("--config", type=Path, metavar="YAML", help="a stage's file: its detection settings hold")
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
    _budget(args, servers=1)  # refused before the work, not after it
    setup = _setup(args)
    history = open_history(args.data)
    budget = _budget(args, servers=len(history.servers))
    with BacktestScreen(as_json=True).progress() as tell:
        past = grid_of(history, part="train" if history.split_by == "column" else "all")
        past = replace(past, zones=Zones(setup.timezone))
        policy, forest = setup.policy, None
        if args.stage is not None:
            package, score, policy = _of_stage(args, policy)
        elif args.package is None:
            package, forest = fit_model(past, setup, model_version="calibrated", progress=tell)
            score = forest.score
        else:
            package, forest = _load(args.package, args.model)
            score = forest.score
        package.require_metrics(history.metrics)
        if args.config is not None and package.rolling_window_s != setup.rolling_window_s:
            raise UsageError(
                f"the package was trained with a rolling window of {package.rolling_window_s:g} s, and --config "
                f"{args.config} says {setup.rolling_window_s:g} s (0: expectations chosen by series)"
            )
        groups = groups_of(past, setup.group_size)
        solution = calibrated(package, score, past, budget, policy, groups=groups, progress=tell)
    if args.out is not None:
        args.out.write_bytes(within(package, solution).to_bytes())
    if args.model_out is not None and forest is not None:
        args.model_out.write_bytes(write_model_tar(forest))
    if args.json:
        json.dump({"model_version": package.model_version, **solution.to_json()}, sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        show(solution, Console(), as_fitted(package))
    return 0


def _setup(args: argparse.Namespace) -> Setup:
    """What is not read from a package."""
    if args.config is not None:
        return Setup.read(args.config, seed=args.seed)
    if args.stage is None:
        return Setup(seed=args.seed)
    detection = _profile(args).detection
    return Setup(policy=detection.policy, timezone=detection.timezone, seed=args.seed)


def _profile(args: argparse.Namespace) -> StageConfig:
    """What the stage's file has for the profile asked for."""
    profiles = load(args.stage).all_profiles
    wanted = args.profile or profiles[0].learning.profile
    found = next((each for each in profiles if each.learning.profile == wanted), None)
    if found is None:
        raise UsageError(f"config/{args.stage}.yaml has no profile {wanted}")
    return found


def _budget(args: argparse.Namespace, *, servers: int) -> Budget:
    """The budget asked for, else the stage's own; raises UsageError where there is neither."""
    if args.budget is not None:
        return Budget.parse(args.budget, servers=servers)
    if args.stage is None:
        raise UsageError("say --budget, or --stage of one whose file has learning.page_budget")
    learning = _profile(args).learning
    budget = Budget.of(learning.page_budget)
    if budget is None:
        raise UsageError(
            f"config/{args.stage}.yaml sets no learning.page_budget for profile {learning.profile}: say --budget"
        )
    return budget


def _of_stage(args: argparse.Namespace, policy: PolicySettings) -> tuple[ModelPackage, Score, PolicySettings]:
    """The model that decides on a stage, its forest (the artifact where it is ours, else the endpoint), the policy.

    Args:
        args: Which stage.
        policy: Its file's; an override stands over it.
    """
    with reaching(DeployedStage.of(args)) as deployment:
        stage = OverriddenStage.of(deployment)
        package = stage.package
        return package, deployment.forest(package.model_version)[0], stage.policy(policy)


def _load(package: Path, model: Path) -> tuple[ModelPackage, RandomCutForest]:
    try:
        return ModelPackage.from_bytes(package.read_bytes()), read_model_tar(model.read_bytes())
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error


def show(solution: Solution, console: Console, shipped: Calibration) -> None:
    """Two tables: pages per server-month by tier, thresholds by channel."""
    pages = Table(title=f"{solution.budget.text}, over {solution.server_days:.0f} server-days of unlabelled past")
    for name in ("tier", "budget", "as trained", "expected", "decades rarer", "outcome"):
        pages.add_column(name, justify="left" if name in ("tier", "outcome") else "right")
    for tier in solution.tiers:
        counts = (tier.allowed, tier.shipped, tier.expected)
        rates = (f"{count:.3g} ({solution.monthly(count):.2g})" for count in counts)
        pages.add_row(tier.tier.value, *rates, f"{tier.decades:g} of {MOST_DECADES:g}", tier.outcome.value)
    pages.caption = "pages in that past (and per server-month); all of it counted as quiet"
    console.print(pages)
    thresholds = Table(title="k by channel, in each channel's own standard deviations")
    for name in ("channel", "P2 as trained", "P2", "P1 as trained", "P1"):
        thresholds.add_column(name, justify="left" if name == "channel" else "right")
    for name, old in shipped.thresholds.items():
        new = solution.calibration[name]
        thresholds.add_row(name, *(f"{value:.2f}" for value in (old.p2, new.p2, old.p1, new.p1)))
    console.print(thresholds)
