"""`treeline tune`."""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from rich import box
from rich.table import Table

from cli.backtest_screen import BacktestScreen
from cli.deployment import add_profile, add_stage
from cli.threshold import add_signature, apply_change
from cli.threshold_trial import of_trial, read_trial
from report.frontier import frontier_picture
from training.evaluate.budget import Budget
from training.evaluate.experiment import Setup
from training.evaluate.pages import Tier
from training.evaluate.tracking import MISSING, Tracking
from training.evaluate.tune import Scored, Space, Trial, Tuner, best_of, frontier
from training.history.files import open_history
from treeline.core.errors import UsageError

EXAMPLES = """
examples:
  treeline tune --data fleet.parquet --trials 20
  treeline tune --data fleet.parquet --incidents incidents.csv --search grid --trials 40
  treeline tune --data fleet.parquet --config config/prod.yaml     with prod's policy, time zone and expectation
  treeline tune --data fleet.parquet --tracking-uri https://mlflow.example.org

  treeline tune --apply best --stage prod --reason "search of november" --by ann
  treeline tune --apply 7 --out runs/tune --stage prod --reason "search of november" --by ann --yes

Without --config a trial has the defaults of what is not searched, whatever a stage says.
Searched: trees 50 to 1000, samples a tree, persistence, and a factor on all thresholds. Every trial is a run in MLflow:
in OUT/mlflow.db, or where --tracking-uri says. OUT/frontier.svg shows what fewer pages cost; OUT/trials.json has every
trial with its figures. --apply does not search: it takes a trial of an earlier search (its number, or best) out of
OUT/trials.json. Its persistence and thresholds then decide on the stage, its forest settings count from the next
training run on (`treeline threshold --help` says for how long, and how to take it back).
A figure that was chosen on labels flatters: judge the chosen settings on labels that the search did not see."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Search forest and pipeline settings: by page budget without labels, and F0.5 with them."
    parser.epilog = EXAMPLES
    parser.add_argument("--data", type=Path, metavar="PARQUET", help="history file or folder")
    parser.add_argument("--incidents", type=Path, metavar="CSV", help="its labelled incidents, if there are any")
    parser.add_argument("--config", type=Path, metavar="YAML", help="a stage's file: its detection settings hold")
    parser.add_argument("--budget", default="1 P1 and 3 P2 per server-month", help="pages allowed (%(default)s)")
    parser.add_argument("--search", choices=("optuna", "grid"), default="optuna", help="default %(default)s")
    parser.add_argument("--trials", type=int, default=20, help="how many (default %(default)s)")
    parser.add_argument("--tracking-uri", metavar="URI", help="an MLflow server (default: a local store in OUT)")
    parser.add_argument("--experiment", default="treeline-tune", help="MLflow experiment (default %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the search and the training rows (default 7)")
    parser.add_argument("--out", type=Path, default=Path("runs/tune"), help="results folder (default %(default)s)")
    apply = parser.add_argument_group("let a trial of an earlier search count")
    apply.add_argument("--apply", metavar="TRIAL", help="its number in OUT/trials.json, counted from 1, or best")
    add_stage(apply, json_help="the best trial, or what was applied, as JSON on stdout")
    add_profile(apply)
    add_signature(apply, required=False)


def run(args: argparse.Namespace) -> int:
    """Search, track, and show the frontier; or apply what an earlier search found."""
    if args.apply is not None:
        if args.data is not None:
            raise UsageError("--apply takes a trial of an earlier search; search first, then apply without --data")
        number, trial = read_trial(args.out / "trials.json", args.apply)
        return apply_change(args, lambda stage: of_trial(number, trial, args.out, stage.package))
    if args.data is None:
        raise UsageError(
            "--data names the history to search on; without it, --apply takes a trial of an earlier search"
        )
    if args.trials < 1:
        raise UsageError(f"--trials must be at least 1, got {args.trials}")
    if args.out.exists() and not args.out.is_dir():
        raise UsageError(f"--out {args.out} is a file, expected a folder")
    setup = Setup.read(args.config, seed=args.seed) if args.config else Setup(seed=args.seed)
    if setup.calibration:
        raise UsageError(f"--config {args.config}: model.calibration cannot be held in a search: --apply would lose it")
    screen = BacktestScreen(as_json=args.json)
    history = open_history(args.data, args.incidents)
    budget = Budget.parse(args.budget, servers=len(history.servers))
    tuner = Tuner(history, budget, setup=setup)
    args.out.mkdir(parents=True, exist_ok=True)
    screen.opened(history)
    facts = {"data": args.data, "budget": budget.text, "search": args.search, "seed": args.seed, "config": args.config}
    results: list[Scored] = []
    tracking = Tracking(args.out, args.tracking_uri, args.experiment, facts)
    with tracking, screen.progress() as tell:

        def score(trial: Trial) -> float:
            results.append(tuner.run(trial))
            tracking.trial(len(results), results[-1])
            tell("trials", len(results) / args.trials)
            return results[-1].score

        _search(args.search, args.trials, args.seed, score)
        best = best_of(results)
        files = [args.out / "frontier.svg", args.out / "trials.json"]
        files[0].write_text(frontier_picture(results, best, 7 * (budget.p1 + budget.p2)), encoding="utf-8")
        files[1].write_text(json.dumps([r.to_json() for r in results], indent=1) + "\n", encoding="utf-8")
        tracking.finish(best, files)
    screen.console.print(_table(results, best))
    screen.note(f"treeline tune --apply {results.index(best) + 1} --out {args.out} lets the best one decide on a stage")
    screen.note(f"{len(results)} trials in {tracking.uri}; {files[0]} shows the frontier")
    if args.json:
        print(json.dumps(best.to_json(), indent=1))
    return 0


def _search(kind: str, trials: int, seed: int, score: Callable[[Trial], float]) -> None:
    space = Space()
    if kind == "grid":
        for trial in space.grid(trials):
            score(trial)
        return
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UsageError(MISSING) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    persistence = [f"{m} of {n}" for m, n in space.persistence]
    shipped = Trial()
    study.enqueue_trial(
        {
            "num_trees": shipped.num_trees,
            "num_samples_per_tree": shipped.num_samples_per_tree,
            "persistence": f"{shipped.needed} of {shipped.of_last}",
            "threshold_factor": shipped.threshold_factor,
        }
    )

    def objective(trial: "optuna.Trial") -> float:
        needed, of_last = trial.suggest_categorical("persistence", persistence).split(" of ")
        return score(
            Trial(
                num_trees=trial.suggest_int("num_trees", min(space.num_trees), max(space.num_trees), step=50),
                num_samples_per_tree=trial.suggest_categorical("num_samples_per_tree", space.num_samples_per_tree),
                needed=int(needed),
                of_last=int(of_last),
                threshold_factor=trial.suggest_float("threshold_factor", 0.6, 1.6),
            )
        )

    study.optimize(objective, n_trials=trials)


def _rows(results: list[Scored], best: Scored) -> Iterator[Scored]:
    yield best
    yield from (r for r in frontier(results) if r is not best)


def _table(results: list[Scored], best: Scored) -> Table:
    table = Table(title="The best trial, then the frontier (pages a server-week)", title_justify="left", box=box.SIMPLE)
    for name in ("trial", "trees", "samples", "persist.", "factor", "pages", "adher.", "F0.5", "F1", "P", "R"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in _rows(results, best):
        t = r.trial
        table.add_row(
            str(results.index(r) + 1),
            str(t.num_trees),
            str(t.num_samples_per_tree),
            f"{t.needed} of {t.of_last}",
            f"{t.threshold_factor:.2f}",
            f"{r.pages_per_server_week[Tier.ALL.value]:.2f}",
            f"{r.adherence:.2f}",
            *("-" if v is None else f"{v:.2f}" for v in (r.f05, r.f1, r.precision, r.recall)),
            style="bold" if r is best else "",
        )
    return table
