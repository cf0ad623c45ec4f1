"""Which inputs make a row anomalous: how far its score drops when one of them is put back to normal (occlusion)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Substituted rows scored at once; bounds memory at about 64 Ki values a feature.
_BLOCK_ROWS = 65_536


def attribution(score: Score, row: ArrayLike, alternatives: ArrayLike) -> NDArray[np.float64]:
    """How much of a row's score each alternative to it takes away.

    An alternative is the whole row as it would be had one cause been normal: one metric at its baseline, say, which
    may change several features. So the caller builds it, with the code that built the row.

    Args:
        score: Scores rows of shape (n, features); called once.
        row: (features,).
        alternatives: (k, features).

    Returns:
        Shape (k,), `score(row) - score(alternative)`: large where that cause explains the score, 0 where it does
        not matter, below 0 where it made the row look more normal.

    Raises:
        ValueError: The shapes differ.
    """
    given = np.asarray(row, dtype=np.float64)
    others = np.asarray(alternatives, dtype=np.float64)
    if given.ndim != 1 or others.ndim != 2 or others.shape[1] != len(given):
        raise ValueError(f"expected a row and alternatives of its width, got shapes {given.shape}, {others.shape}")
    scores = score(np.concatenate((given[None, :], others)))
    drops: NDArray[np.float64] = scores[0] - scores[1:]
    return drops


def occlude(score: Score, rows: ArrayLike, substitutes: ArrayLike) -> NDArray[np.float64]:
    """How far each row's score drops when each of its features alone is replaced.

    Args:
        score: Scores rows of shape (n, features), as `RandomCutForest.score` does.
        rows: (n, features).
        substitutes: What is normal: (features,) for all rows, or (n, features).

    Returns:
        Shape (n, features).

    Raises:
        ValueError: The shapes differ.
    """
    given = np.asarray(rows, dtype=np.float64)
    if given.ndim != 2:
        raise ValueError(f"expected rows of shape (n, features), got shape {given.shape}")
    normal = np.broadcast_to(np.asarray(substitutes, dtype=np.float64), given.shape)
    count, features = given.shape
    before = score(given)
    drops = np.empty((count, features))
    block = max(1, _BLOCK_ROWS // max(1, features))
    diagonal = np.arange(features)
    for start in range(0, count, block):
        part = slice(start, min(start + block, count))
        occluded = np.repeat(given[part, None, :], features, axis=1)
        occluded[:, diagonal, diagonal] = normal[part]
        after = score(occluded.reshape(-1, features)).reshape(-1, features)
        drops[part] = before[part, None] - after
    return drops
