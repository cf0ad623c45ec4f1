"""The walk of `walkable`, compiled by numba. Import it only where numba is installed and about to be used."""

import numba
import numpy as np
from numpy.typing import NDArray

# Rows that go down a tree side by side: a step has to wait for the row's last one, but not for those of other rows.
# Ten, as a request's fifty rows are five tens; from twelve on the processor runs out of registers.
LANES = 10


# long: cut in two, down and up, what numba makes of it is a third slower.
def _score_rows(
    rows: NDArray[np.float32],
    roots: NDArray[np.int32],
    boxes: NDArray[np.float32],
    spans: NDArray[np.float32],
    cut_columns: NDArray[np.int32],
    cut_values: NDArray[np.float32],
    lefts: NDArray[np.int32],
    unseen: NDArray[np.float64],
    seen: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> None:
    """Add every tree's share to `scores`; `rows` are doubled, and filled up to a multiple of LANES."""
    count = len(scores)
    nodes = np.empty(LANES, np.int32)
    depths = np.empty(LANES, np.int32)
    paths = np.empty((LANES, len(unseen)), np.int32)
    for root in roots:
        for first in range(0, count, LANES):
            # Down to the leaves by the cuts alone. Who has arrived stays there until all have.
            nodes[:] = root
            depths[:] = 0
            level = 0
            going = True
            while going:
                going = False
                for lane in range(LANES):
                    node = nodes[lane]
                    paths[lane, level] = node
                    child = lefts[node] + (rows[first + lane, cut_columns[node]] > cut_values[node])
                    moved = child != node
                    nodes[lane] = child
                    depths[lane] += moved
                    going |= moved
                level += 1
            # And up, to the first box that holds the row.
            for lane in range(min(LANES, count - first)):
                row = first + lane
                depth = depths[lane]
                score = unseen[depth]
                level = depth - 1
                while level >= 0:
                    node = paths[lane, level]
                    outside = np.float32(0)
                    for side in range(boxes.shape[1]):
                        outside += max(boxes[node, side] - rows[row, side], np.float32(0))
                    if outside == 0:
                        break
                    separation = np.float64(outside) / (np.float64(outside) + np.float64(spans[node]))
                    score += separation * (unseen[level] - score)
                    level -= 1
                # Only a row that the leaf's parent holds can equal the leaf.
                if level == depth - 1:
                    leaf = nodes[lane]
                    equal = True
                    for side in range(boxes.shape[1]):
                        if boxes[leaf, side] != rows[row, side]:
                            equal = False
                            break
                    if equal:
                        score = seen[leaf]
                scores[row] += score


# Leave to add the sides in any order: they are then added several at once, twice as fast at 76 features.
# What would change the meaning (assuming there is no NaN or infinity) stays off.
_FREEDOM = {"reassoc", "contract", "nsz"}

try:
    # Compiled at its first call, and kept for later processes.
    score_rows = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FREEDOM)(_score_rows)
except RuntimeError:  # numba found nowhere to keep it, as in a read-only container
    score_rows = numba.njit(nogil=True, error_model="numpy", fastmath=_FREEDOM)(_score_rows)
