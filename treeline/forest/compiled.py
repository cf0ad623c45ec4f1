"""The walk of `kernels`, compiled by numba. Import it only where numba is installed and about to be used."""

import numba
import numpy as np
from numpy.typing import NDArray

from treeline.forest.growth import LEAF


def _score_rows(
    rows: NDArray[np.float32],
    roots: NDArray[np.int32],
    lows: NDArray[np.float32],
    highs: NDArray[np.float32],
    spans: NDArray[np.float32],
    cut_dims: NDArray[np.int32],
    cut_values: NDArray[np.float32],
    lefts: NDArray[np.int32],
    unseen: NDArray[np.float64],
    seen: NDArray[np.float64],
    block: int,
    scores: NDArray[np.float64],
) -> None:
    """Add every tree's share to `scores`, a block of rows through one tree before the next tree is touched."""
    count, features = rows.shape
    for start in range(0, count, block):
        stop = min(start + block, count)
        for root in roots:
            for r in range(start, stop):
                node = root
                depth = 0
                unseparated = 1.0
                score = 0.0
                while True:
                    outside = np.float32(0)
                    for f in range(features):
                        value = rows[r, f]
                        outside += max(lows[node, f] - value, np.float32(0)) + max(
                            value - highs[node, f], np.float32(0)
                        )
                    # Inside the box this adds 0 / (span + 1): dividing is cheaper than a branch no processor can guess.
                    separation = np.float64(outside) / (np.float64(outside) + spans[node] + (outside == 0.0))
                    score += unseparated * separation * unseen[depth]
                    unseparated *= 1.0 - separation
                    if cut_dims[node] == LEAF:
                        score += unseparated * seen[node]
                        break
                    node = lefts[node] + (rows[r, cut_dims[node]] > cut_values[node])
                    depth += 1
                scores[r] += score


# Leave to add the features in any order: they are then added several at once, twice as fast at 12 features and more.
# What would change the meaning (assuming there is no NaN or infinity) stays off.
_FREEDOM = {"reassoc", "contract", "nsz"}

try:
    # Compiled at its first call, and kept for later processes.
    score_rows = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FREEDOM)(_score_rows)
except RuntimeError:  # numba found nowhere to keep it, as in a read-only container
    score_rows = numba.njit(nogil=True, error_model="numpy", fastmath=_FREEDOM)(_score_rows)
