"""Walk rows through the trees as `walkable` describes: in plain numpy, or compiled by numba where that is installed."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from treeline.forest.walkable import Walkable, double

KernelName = Literal["auto", "numba", "numpy"]

# Rows that go through one tree before the next: it stays in the processor's cache, and so do they.
_NUMBA_BLOCK_ROWS = 2048
# Numbers in the boxes of a block's pairs of row and tree: 1.6 MB, what a processor's second cache holds.
_NUMPY_BLOCK_SIDES = 400_000
# Levels walked between two looks at which rows have reached their leaf: a look costs as much as three levels.
_LEVELS_A_LOOK = 6


class Kernel(Protocol):
    """Scores float32 rows of the forest's width, all finite."""

    def __call__(self, forest: Walkable, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """One score a row."""


def kernel_named(name: KernelName) -> Kernel:
    """The kernel to score with; `auto` is numba's where numba is installed, else numpy's.

    Raises:
        ValueError: The name is unknown.
        ModuleNotFoundError: `numba` was asked for and is not installed.
    """
    if name == "numpy":
        return score_numpy
    if name not in ("auto", "numba"):
        raise ValueError(f"kernel must be auto, numba or numpy, got {name!r}")
    try:
        # Imported on first use: numba takes about a second, and not every user of a forest scores with it.
        from treeline.forest.compiled import LANES, score_rows
    except ModuleNotFoundError as error:
        if name == "numba" or error.name != "numba":
            raise
        return score_numpy

    def score_numba(forest: Walkable, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = np.zeros(len(rows))
        for start in range(0, len(rows), _NUMBA_BLOCK_ROWS):
            block = rows[start : start + _NUMBA_BLOCK_ROWS]
            score_rows(
                double(block, length=-(-len(block) // LANES) * LANES), forest.roots, forest.boxes, forest.spans,
                forest.cut_columns, forest.cut_values, forest.lefts, forest.unseen, forest.seen,
                scores[start : start + len(block)],
            )  # fmt: skip
        return scores

    return score_numba


def score_numpy(forest: Walkable, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The walk in plain numpy: every row of a block through every tree at once, one level after the other."""
    block = max(1, _NUMPY_BLOCK_SIDES // forest.boxes.shape[1] // len(forest.roots))
    scores = np.empty(len(rows))
    for start in range(0, len(rows), block):
        asked = rows[start : start + block]
        doubled = double(asked, length=len(asked))
        # A pair is a row and a tree; the pairs of a tree lie together, as its upper nodes are read for all of them.
        row = np.tile(np.arange(len(asked)), len(forest.roots))
        pair_scores = _climb(forest, doubled, row, _descend(forest, doubled, row))
        scores[start : start + block] = np.bincount(row, weights=pair_scores)
    return scores


def _descend(forest: Walkable, doubled: NDArray[np.float32], row: NDArray[np.int64]) -> NDArray[np.int32]:
    """The leaf that each pair's row belongs to."""
    values = doubled.ravel()
    leaves = np.empty(len(row), dtype=np.int32)
    pair, offset = np.arange(len(row)), row * doubled.shape[1]
    node = np.repeat(forest.roots, len(doubled))
    while len(pair):
        for _ in range(_LEVELS_A_LOOK):
            beyond = values.take(offset + forest.cut_columns.take(node)) > forest.cut_values.take(node)
            node = forest.lefts.take(node) + beyond
        leaves[pair] = node
        going = forest.lefts.take(node) != node
        pair, offset, node = pair[going], offset[going], node[going]
    return leaves


def _climb(
    forest: Walkable, doubled: NDArray[np.float32], row: NDArray[np.int64], leaves: NDArray[np.int32]
) -> NDArray[np.float64]:
    """What each pair adds to its row's score, from the leaf up to the first box that holds the row."""
    scores = forest.unseen.take(forest.depths.take(leaves))
    pair, node = np.arange(len(row)), forest.parents.take(leaves)
    outside = _outside(forest, doubled, row, node)
    # Only a row that the leaf's parent holds can equal the leaf.
    held = pair[outside == 0]
    equal = held[_outside(forest, doubled, row.take(held), leaves.take(held)) == 0]
    scores[equal] = forest.seen.take(leaves.take(equal))
    while True:
        beyond = outside > 0
        pair, node, outside = pair[beyond], node[beyond], outside[beyond]
        if not len(pair):
            return scores
        level = forest.depths.take(node)
        below = scores.take(pair)
        scores[pair] = below + outside / (outside + forest.spans.take(node)) * (forest.unseen.take(level) - below)
        going = level > 0
        pair, node = pair[going], forest.parents.take(node[going])
        outside = _outside(forest, doubled, row.take(pair), node)


def _outside(
    forest: Walkable, doubled: NDArray[np.float32], row: NDArray[np.int64], node: NDArray[np.int32]
) -> NDArray[np.float64]:
    """How far each row lies outside of its node's box, summed over the features."""
    sides = forest.boxes.take(node, axis=0)
    sides -= doubled.take(row, axis=0)
    np.maximum(sides, np.float32(0), out=sides)
    # Each row is added up by itself, so its score does not depend on its neighbours; a matrix product might differ.
    total: NDArray[np.float32] = np.einsum("ij->i", sides)
    return total.astype(np.float64)
