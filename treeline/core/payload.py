"""The scorer's wire format: CSV of at most 50 rows in, one score a row out."""

import json
import math
from collections.abc import Callable, Iterator

import numpy as np

from treeline.core.errors import ScorerContractError
from treeline.core.statistics import FloatArray

MAX_ROWS = 50
CONTENT_TYPE = "text/csv"
ACCEPT = "application/json"


def csv_payloads(rows: FloatArray, *, max_rows: int = MAX_ROWS) -> Iterator[tuple[slice, bytes]]:
    """Cut rows into request bodies.

    Args:
        rows: Shape (n, features) float32; nine significant digits carry a float32 exactly.
        max_rows: Rows a body holds at most, >= 1.

    Yields:
        Which rows, and their body: no header, no id, one line a row.

    Raises:
        ValueError: A value is NaN or infinite (the engines answer those with a finite, meaningless score).
    """
    if max_rows < 1:
        raise ValueError(f"max_rows must be >= 1, got {max_rows}")
    if not np.all(np.isfinite(rows)):
        bad = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"row {bad[0]}, feature {bad[1]} is {rows[tuple(bad)]}; a scorer row must be finite")
    for start in range(0, len(rows), max_rows):
        block = rows[start : start + max_rows]
        lines = [",".join([f"{value:.9g}" for value in row]) for row in block.tolist()]
        yield slice(start, start + len(block)), "\n".join(lines).encode("ascii")


def score_rows(score: Callable[[bytes, int], FloatArray], rows: FloatArray) -> FloatArray:
    """Scores (n,) of rows (n, features); `score` is asked with bodies of at most `MAX_ROWS` and their row counts."""
    scores = np.empty(len(rows))
    for part, body in csv_payloads(rows):
        scores[part] = score(body, part.stop - part.start)
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
