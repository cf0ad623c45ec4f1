"""Forests side by side, in one run on one thread: points scored per CPU second, and the CPU time to fit.

CPU time, so that what else runs on the machine matters little; where nothing else does, it is wall time.
`python -m benchmarks.forest`. A peer that is not installed is left out and named. Every peer gets the same rows; each
score call gets them in the shape that is fastest for that peer. The widths are those of forests in use: 4, and twice
the metrics of a profile with 4 and with 38.
"""

import argparse
import importlib
import importlib.metadata
import itertools
import json
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from benchmarks.forest_traffic import Traffic, measure_traffic
from treeline.forest.forest import RandomCutForest
from treeline.forest.kernels import KernelName

Rows = np.ndarray
Score = Callable[[Rows], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What all contestants are given."""

    training: Rows
    asked: Rows
    num_trees: int
    num_samples_per_tree: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One contestant's figures.

    `rows` tells how many were scored, as slow ones get fewer; `points_per_s_in_requests` is the same rows in calls of
    50, as the pipeline makes them, and `request_ms` the time of one such call.
    """

    name: str
    fit_s: float
    rows: int
    points_per_s: float
    points_per_s_in_requests: float
    request_ms: float
    times_krcf: float | None = None
    times_krcf_in_requests: float | None = None
    correlation_with_krcf: float | None = None


def fit_ours(contest: Contest, kernel: KernelName, seed: int = 1) -> Score:
    return RandomCutForest.fit(
        contest.training,
        num_trees=contest.num_trees,
        num_samples_per_tree=contest.num_samples_per_tree,
        seed=seed,
        kernel=kernel,
    ).score


def fit_krcf(contest: Contest, seed: int) -> Score:
    krcf = importlib.import_module("krcf")
    options = {
        "dimensions": contest.training.shape[1],
        "shingle_size": 1,
        "num_trees": contest.num_trees,
        "sample_size": contest.num_samples_per_tree,
        "random_seed": seed,
        "lambda": 0.0,  # a uniform sample, as ours
    }
    forest = krcf.RandomCutForest(options)
    for row in contest.training.tolist():
        forest.update(row)
    return lambda rows: np.array([forest.score(row) for row in rows.tolist()])


def fit_rrcf(contest: Contest) -> Score:
    """Collusive displacement, which rrcf can only tell of a point in the tree: insert, ask, forget."""
    rrcf = importlib.import_module("rrcf")
    rng = np.random.default_rng(1)
    size = contest.num_samples_per_tree
    chosen = rng.permutation(len(contest.training))[: size * contest.num_trees].reshape(contest.num_trees, size)
    trees = [rrcf.RCTree(contest.training[rows].astype(np.float64)) for rows in chosen]

    def score(rows: Rows) -> np.ndarray:
        scores = np.zeros(len(rows))
        for number, row in enumerate(rows.astype(np.float64)):
            for tree in trees:
                tree.insert_point(row, index="asked")
                scores[number] += tree.codisp("asked") / len(trees)
                tree.forget_point("asked")
        return scores

    return score


def fit_isolation_forest(contest: Contest) -> Score:
    forest = (
        importlib.import_module("sklearn.ensemble")
        .IsolationForest(
            n_estimators=contest.num_trees, max_samples=contest.num_samples_per_tree, n_jobs=1, random_state=1
        )
        .fit(contest.training)
    )
    return lambda rows: -forest.score_samples(rows)


# name -> (module it needs, fit, share of the rows it is asked to score)
CONTESTANTS: dict[str, tuple[str, Callable[[Contest], Score], float]] = {
    "krcf (AWS's Rust)": ("krcf", lambda contest: fit_krcf(contest, 1), 0.25),
    "treeline, numba": ("numba", lambda contest: fit_ours(contest, "numba"), 1.0),
    "treeline, numpy": ("numpy", lambda contest: fit_ours(contest, "numpy"), 0.25),
    "rrcf": ("rrcf", fit_rrcf, 0.001),
    "IsolationForest": ("sklearn.ensemble", fit_isolation_forest, 1.0),
}
REQUEST_ROWS = 50
KRCF = "krcf (AWS's Rust)"


def stand_in_for_pkg_resources() -> None:
    """rrcf 0.4.4 asks setuptools' pkg_resources for its own version; setuptools 82 no longer has that module."""
    module = types.ModuleType("pkg_resources")
    module.get_distribution = importlib.metadata.distribution  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", module)


def measure(contest: Contest, repeats: int) -> tuple[list[Contestant], list[str]]:
    """Fit all, then score in turns, so that a busy moment of the machine hits all alike; the best turn counts."""
    fitted: dict[str, tuple[Score, float, Rows]] = {}
    missing: list[str] = []
    for name, (module, fit, share) in CONTESTANTS.items():
        print(f"fitting {name}", file=sys.stderr)
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing.append(f"{name} ({error.name} is not installed)")
            continue
        started = time.process_time()
        score = fit(contest)
        fit_s = time.process_time() - started
        asked = contest.asked[: max(10, int(len(contest.asked) * share))]
        score(asked[:10])  # compiles, where there is something to compile
        fitted[name] = (score, fit_s, asked)
    best: dict[str, float] = {}
    best_in_requests: dict[str, float] = {}
    scores: dict[str, np.ndarray] = {}
    for turn in range(repeats):
        print(f"scoring, turn {turn + 1} of {repeats}", file=sys.stderr)
        for name, (score, _, asked) in fitted.items():
            started = time.process_time()
            scores[name] = score(asked)
            best[name] = max(best.get(name, 0.0), len(asked) / (time.process_time() - started))
            few = asked[:1000]
            started = time.process_time()
            for start in range(0, len(few), REQUEST_ROWS):
                score(few[start : start + REQUEST_ROWS])
            rate = len(few) / (time.process_time() - started)
            best_in_requests[name] = max(best_in_requests.get(name, 0.0), rate)
    results = []
    for name, (_, fit_s, asked) in fitted.items():
        shared = min(len(asked), len(scores[KRCF])) if KRCF in scores else 0
        results.append(
            Contestant(
                name=name,
                fit_s=round(fit_s, 4),
                rows=len(asked),
                points_per_s=round(best[name], 1),
                points_per_s_in_requests=round(best_in_requests[name], 1),
                request_ms=round(1000 * REQUEST_ROWS / best_in_requests[name], 3),
                times_krcf=round(best[name] / best[KRCF], 2) if KRCF in best else None,
                times_krcf_in_requests=round(best_in_requests[name] / best_in_requests[KRCF], 2)
                if KRCF in best
                else None,
                correlation_with_krcf=round(float(np.corrcoef(scores[name][:shared], scores[KRCF][:shared])[0, 1]), 4)
                if shared >= 10
                else None,
            )
        )
    return results, missing


def agree(contest: Contest, seeds: Sequence[int] = (1, 2, 3)) -> dict[str, float]:
    """Correlations of scores, mean over pairs of seeds: ours with krcf's, and krcf's with its own of another seed."""
    few = replace(contest, asked=contest.asked[:1000])
    theirs = [fit_krcf(few, seed)(few.asked) for seed in seeds]
    ours = [fit_ours(few, "auto", seed)(few.asked) for seed in seeds]
    pairs = itertools.combinations(theirs, 2)
    return {
        "ours_with_krcf": round(float(np.mean([np.corrcoef(a, b)[0, 1] for a in ours for b in theirs])), 4),
        "krcf_with_itself": round(float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])), 4),
    }


def correlated_rows(count: int, dimensions: int, seed: int) -> Rows:
    """Rows whose features follow one load, one in a hundred of them far off."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 1)) + 0.5 * rng.normal(size=(count, dimensions))
    off = rng.random(count) < 0.01
    rows[off] += rng.normal(0, 4, size=(int(off.sum()), dimensions))
    return rows.astype(np.float32)


def run(asked: argparse.Namespace, dimensions: int) -> dict[str, object]:
    """The contest at one width, and what the memory would allow our own forest there."""
    contest = Contest(
        training=correlated_rows(asked.train_rows, dimensions, seed=1),
        asked=correlated_rows(asked.rows, dimensions, seed=2),
        num_trees=asked.num_trees,
        num_samples_per_tree=asked.num_samples_per_tree,
    )
    results, missing = measure(contest, asked.repeats)
    forest = RandomCutForest.fit(
        contest.training, num_trees=asked.num_trees, num_samples_per_tree=asked.num_samples_per_tree, seed=1
    )
    traffic: Traffic = measure_traffic(forest, contest.asked[:1000])
    return {
        "dimensions": dimensions,
        "results": [asdict(result) for result in results],
        "missing": missing,
        "correlation": agree(contest) if any(result.name == KRCF for result in results) else None,
        "traffic": asdict(traffic),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the contests; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forest", description=__doc__)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[4, 8, 76])
    parser.add_argument("--num-trees", type=int, default=50)
    parser.add_argument("--num-samples-per-tree", type=int, default=512)
    parser.add_argument("--train-rows", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=20_000, help="rows to score (slow peers get a share of them)")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args(arguments)
    if asked.train_rows < asked.num_trees * asked.num_samples_per_tree:
        parser.error("--train-rows must be at least --num-trees times --num-samples-per-tree, or trees would shrink")
    stand_in_for_pkg_resources()
    contests = [run(asked, dimensions) for dimensions in asked.dimensions]
    print(json.dumps({"settings": vars(asked), "contests": contests}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
