"""The data-quality baseline of a training run: statistics.json and constraints.json beside the model.

Columns are the deployment's metrics, over the whole fleet, and the forest's features where they are given.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.history.cloudwatch.store import Files, Folder
from training.history.files import History
from training.history.grid import Grid
from training.prepare.sampling import ServerSamples
from treeline.core.detection.features import feature_names
from treeline.core.errors import UsageError
from treeline.core.model.data_quality import (
    Constraint,
    FeatureStatistics,
    Violation,
    check,
    constraints_from_json,
    constraints_to_json,
    statistics_from_json,
    statistics_to_json,
    suggest,
    summarize,
)

STATISTICS, CONSTRAINTS = "statistics.json", "constraints.json"
MOST_ROWS = 1_000_000  # of a sample; quantiles of more are the same


def sample_of(metrics: Sequence[str], *, seed: int) -> ServerSamples:
    """A sample of a fleet's observations that a preparation fills, all of them where there are few."""
    return ServerSamples(1, MOST_ROWS, len(metrics), np.random.default_rng([seed, 1]))


def baseline(
    metrics: Sequence[str], rows: NDArray[np.float32], *, seed: int, features: NDArray[np.float32] | None = None
) -> tuple[tuple[FeatureStatistics, ...], tuple[Constraint, ...]]:
    """Statistics of observations, and the constraints they suggest.

    Args:
        metrics: Names of the columns.
        rows: What was trained on, hygiene applied; a server absent at a time is no row.
        seed: Of the sample, where there are more than a million rows.
        features: The forest's training rows (n, 2 * metrics), to be described too.
    """
    rng = np.random.default_rng(seed)
    statistics = summarize(metrics, _sample(rows, rng))
    if features is not None:
        statistics += summarize(feature_names(metrics), _sample(features, rng))
    return statistics, suggest(statistics)


def write(
    files: Files, statistics: Sequence[FeatureStatistics], constraints: Sequence[Constraint], folder: str
) -> None:
    """Both documents into `folder`."""
    for name, body in ((STATISTICS, statistics_to_json(statistics)), (CONSTRAINTS, constraints_to_json(constraints))):
        files.write(f"{folder}/{name}", json.dumps(body, indent=1).encode())


def read(folder: Path) -> tuple[tuple[FeatureStatistics, ...], tuple[Constraint, ...]]:
    """Both documents of a folder; raises UsageError where one is missing, ModelMismatchError where it is wrong."""
    bodies = []
    for name in (STATISTICS, CONSTRAINTS):
        content = Folder(folder).read(name)
        if content is None:
            raise UsageError(f"{folder} holds no {name}; expected the data-quality baseline of a training run")
        try:
            bodies.append(json.loads(content))
        except ValueError as error:
            raise UsageError(f"{folder / name} is not JSON: {error}") from error
    return statistics_from_json(bodies[0]), constraints_from_json(bodies[1])


def check_grid(
    grid: Grid, statistics: Sequence[FeatureStatistics], constraints: Sequence[Constraint]
) -> list[Violation]:
    """Hold a grid's rows against a baseline."""
    return check(grid.metrics, grid.values[grid.present()], statistics, _of(grid.metrics, constraints))


def check_history(
    history: History, statistics: Sequence[FeatureStatistics], constraints: Sequence[Constraint]
) -> list[Violation]:
    """Hold a history against a baseline, every n-th row of one with more than a million."""
    every = -(-history.row_count // MOST_ROWS)
    rows = [window.values[::every] for window in history.windows()]
    return check(history.metrics, np.concatenate(rows), statistics, _of(history.metrics, constraints))


def _of(metrics: Sequence[str], constraints: Sequence[Constraint]) -> list[Constraint]:
    """Those on the forest's features do not apply to observations."""
    return [constraint for constraint in constraints if constraint.name in metrics]


def _sample(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return rows if len(rows) <= MOST_ROWS else rows[np.sort(rng.choice(len(rows), MOST_ROWS, replace=False))]
