"""Our static forest against AWS's own code (krcf binds the Rust library of aws/random-cut-forest-by-aws)."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from treeline.forest.forest import RandomCutForest

krcf = pytest.importorskip("krcf")

FLEET = Path(__file__).parents[3] / "shared" / "data" / "fleet" / "fleet.parquet"
METRICS = ["cpu_r", "mem_u", "disk_u", "eth1_fi"]
TREES, SAMPLES = 100, 100
TRAINED, SCORED = 10_000, 1_500  # at least TREES * SAMPLES, or our trees would shrink


def generated() -> np.ndarray:
    """Four metrics that follow one daily load, each in its own way, with bursts; about as lumpy as real ones."""
    rng = np.random.default_rng(42)
    minute = np.arange(TRAINED + SCORED)
    load = 1 + 0.6 * np.sin(2 * np.pi * minute / 1440) + rng.normal(0, 0.15, len(minute))
    burst = rng.random(len(minute)) < 0.03
    return np.column_stack(
        [
            np.round(30 * load + 60 * burst * rng.random(len(minute)), 1),
            40 + 8 * load + rng.normal(0, 0.5, len(minute)),
            rng.lognormal(1, 0.6, len(minute)) * load * (1 + 8 * burst),
            np.where(rng.random(len(minute)) < 0.7, 0.0, 100 * load),  # mostly one value: duplicates
        ]
    )


def real() -> np.ndarray:
    parquet = pytest.importorskip("pyarrow.parquet")
    # One machine is one row group.
    table = parquet.ParquetFile(FLEET).read_row_group(0, columns=METRICS)
    rows = np.column_stack([table.column(name).to_numpy() for name in METRICS])
    # The last part holds this machine's incidents, so scores cover their whole range.
    return np.concatenate((rows[:TRAINED], rows[-SCORED:])).astype(np.float64)


def our_scores(training: np.ndarray, asked: np.ndarray, *, seed: int) -> np.ndarray:
    return RandomCutForest.fit(training, num_trees=TREES, num_samples_per_tree=SAMPLES, seed=seed).score(asked)


def their_scores(training: np.ndarray, asked: np.ndarray, *, seed: int) -> np.ndarray:
    forest = krcf.RandomCutForest(
        {
            "dimensions": training.shape[1],
            "shingle_size": 1,
            "num_trees": TREES,
            "sample_size": SAMPLES,
            "random_seed": seed,
            "lambda": 0.0,  # no recency: a uniform sample of all it has seen, as ours
        }
    )
    for row in training.tolist():
        forest.update(row)
    return np.array([forest.score(row) for row in asked.tolist()])


FLEETS = [
    "generated",
    pytest.param("real", marks=pytest.mark.skipif(not FLEET.exists(), reason="the shared fleet is not mounted")),
]


@pytest.mark.parametrize("fleet", FLEETS)
def test_scores_are_those_of_the_open_source_aws_forest(fleet):
    """Same definition, other random cuts: correlated at 0.99 or more, and on the same scale."""
    rows = real() if fleet == "real" else generated()
    training, asked = rows[:TRAINED], rows[TRAINED:]
    spread = training.std(axis=0)
    training, asked = training / spread, asked / spread

    ours = our_scores(training, asked, seed=7)
    theirs = their_scores(training, asked, seed=7)

    correlation = np.corrcoef(ours, theirs)[0, 1]
    assert correlation >= 0.99
    assert np.mean(ours - theirs) == pytest.approx(0, abs=0.03)
    assert theirs.max() > 1.5 * np.median(theirs), "scores that hardly differ would prove little"


@pytest.mark.parametrize("width", [8, 76])
def test_our_scores_are_as_close_to_theirs_as_theirs_under_another_seed(width):
    """At the widths of a forest over two measures of 4 and of 38 metrics; what is left is the noise of the seed."""
    rng = np.random.default_rng(width)
    rows = rng.normal(size=(TRAINED + 300, 1)) + 0.5 * rng.standard_t(4, size=(TRAINED + 300, width))
    training, asked = rows[:TRAINED], rows[TRAINED:]
    ours = [our_scores(training, asked, seed=seed) for seed in (1, 2, 3)]
    theirs = [their_scores(training, asked, seed=seed) for seed in (1, 2, 3)]

    across = np.mean([np.corrcoef(a, b)[0, 1] for a in ours for b in theirs])
    among_theirs = np.mean([np.corrcoef(a, b)[0, 1] for a, b in itertools.combinations(theirs, 2)])
    assert across >= among_theirs - 0.003, "three seeds tell the mean to about 0.002"
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)
