"""The scorer's wire format: CSV of at most 50 rows in, one score a row out."""

import json
import math
from collections.abc import Callable

import numpy as np

from treeline.core.errors import ScorerContractError
from treeline.core.statistics import FloatArray

MAX_ROWS = 50
CONTENT_TYPE = "text/csv"
ACCEPT = "application/json"


def csv_body(rows: FloatArray) -> bytes:
    """A request body: no header, no id, one line a row.

    Args:
        rows: Shape (n, features) float32, finite; nine significant digits carry a float32 exactly.
    """
    return "\n".join([",".join([f"{value:.9g}" for value in row]) for row in rows.tolist()]).encode("ascii")


def score_rows(score: Callable[[FloatArray], FloatArray], rows: FloatArray) -> FloatArray:
    """Score rows, at most `MAX_ROWS` at once.

    Args:
        score: Scores (n,) of rows (n, features), n in [1, MAX_ROWS].
        rows: Shape (n, features) float32.

    Returns:
        Shape (n,).

    Raises:
        ValueError: A value is NaN or infinite (the engines answer those with a finite, meaningless score).
    """
    if not np.all(np.isfinite(rows)):
        bad = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"row {bad[0]}, feature {bad[1]} is {rows[tuple(bad)]}; a scorer row must be finite")
    scores = np.empty(len(rows))
    for start in range(0, len(rows), MAX_ROWS):
        part = slice(start, start + MAX_ROWS)
        scores[part] = score(rows[part])
    return scores


def decode_scores(body: bytes, expected_rows: int) -> FloatArray:
    """Read `{"scores": [{"score": x}, ...]}`, one finite score a row; raises ScorerContractError for anything else."""
    try:
        scores = [float(entry["score"]) for entry in json.loads(body)["scores"]]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ScorerContractError(f"the scorer answered something else than scores: {body[:200]!r}") from error
    if len(scores) != expected_rows:
        raise ScorerContractError(f"{expected_rows} rows were sent, {len(scores)} scores came back")
    if not all(map(math.isfinite, scores)):
        raise ScorerContractError(f"a score is not finite: {next(s for s in scores if not math.isfinite(s))}")
    return np.array(scores)
