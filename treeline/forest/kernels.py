"""Walk rows through the trees: one definition of the score, in plain numpy and compiled by numba.

The score is AWS's open-source damped expected depth (`AnomalyScoreVisitor` in aws/random-cut-forest-by-aws). That
code walks from the leaf to the root, `score = p * unseen(depth) + (1 - p) * score`, where p is the probability that a
cut of the node's box, stretched to hold the row, separates the two. Unrolled from the root, a node contributes
`p * unseen(depth)` weighted by the chance that no cut above separated the row; so one walk down is enough.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from treeline.forest.growth import LEAF, Trees

KernelName = Literal["auto", "numba", "numpy"]

# Long enough that what the processor learns about a tree pays (numba); a block's boxes over all trees stay in its
# cache (numpy).
_NUMBA_BLOCK = 16_384
_NUMPY_BLOCK_PAIRS = 25_600


@dataclass(frozen=True, slots=True, eq=False)
class Walkable:
    """What a walk reads: the trees, and what follows from them, computed once."""

    trees: Trees
    lows: NDArray[np.float32]  # (nodes, features), the boxes' corners apart, as a compiled walk reads them fastest
    highs: NDArray[np.float32]
    spans: NDArray[np.float32]  # (nodes,) sum of the sides of the node's box
    unseen: NDArray[np.float64]  # (longest depth + 1,) what separating a row at a depth adds to the forest's score
    seen: NDArray[np.float64]  # (nodes,) what reaching a leaf that equals the row adds; 0 for inner nodes


class Kernel(Protocol):
    """Scores float32 rows of the forest's width, all finite."""

    def __call__(self, forest: Walkable, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """One score a row."""


def prepare(trees: Trees) -> Walkable:
    """Precompute each node's share of the score, `log2(1 + mass of the tree) / trees` already multiplied in."""
    depths = _depths(trees)
    mass = int(trees.masses[trees.roots[0]])
    scale = np.log2(1.0 + mass) / len(trees.roots)
    leaf = trees.cut_dims == LEAF
    leaf_mass = trees.masses[leaf]
    damp = 1.0 - leaf_mass / (2.0 * mass)
    seen = np.zeros(len(depths))
    seen[leaf] = scale * damp / (depths[leaf] + np.log2(leaf_mass + 1.0))
    sides = trees.boxes[:, 1::2].astype(np.float64) - trees.boxes[:, 0::2]
    return Walkable(
        trees=trees,
        lows=np.ascontiguousarray(trees.boxes[:, 0::2]),
        highs=np.ascontiguousarray(trees.boxes[:, 1::2]),
        spans=sides.sum(axis=1).astype(np.float32),
        unseen=scale / (np.arange(depths.max() + 1) + 1.0),
        seen=seen,
    )


def _depths(trees: Trees) -> NDArray[np.int64]:
    depths = np.zeros(len(trees.cut_dims), dtype=np.int64)
    level = trees.roots.astype(np.int64)
    depth = 0
    while len(level):
        depths[level] = depth
        lefts = trees.lefts[level[trees.cut_dims[level] != LEAF]].astype(np.int64)
        level = np.concatenate((lefts, lefts + 1))
        depth += 1
    return depths


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
        from treeline.forest.compiled import score_rows
    except ModuleNotFoundError as error:
        if name == "numba" or error.name != "numba":
            raise
        return score_numpy

    def score_numba(forest: Walkable, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        trees = forest.trees
        scores = np.zeros(len(rows))
        score_rows(
            rows, trees.roots, forest.lows, forest.highs, forest.spans, trees.cut_dims, trees.cut_values, trees.lefts,
            forest.unseen, forest.seen, _NUMBA_BLOCK, scores,
        )  # fmt: skip
        return scores

    return score_numba


def score_numpy(forest: Walkable, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The walk in plain numpy: every row through every tree at once, one level after the other."""
    block = max(1, _NUMPY_BLOCK_PAIRS // len(forest.trees.roots))
    scores = np.empty(len(rows))
    for start in range(0, len(rows), block):
        scores[start : start + block] = _walk(forest, rows[start : start + block])
    return scores


def _walk(forest: Walkable, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    trees = forest.trees
    scores = np.zeros(len(rows))
    # One entry for each row and tree that has not reached its leaf.
    row = np.repeat(np.arange(len(rows)), len(trees.roots))
    node = np.tile(trees.roots, len(rows))
    unseparated = np.ones(len(row))
    for unseen in forest.unseen:
        values = rows[row]
        boxes = trees.boxes[node]
        below = np.maximum(boxes[:, 0::2] - values, np.float32(0))
        above = np.maximum(values - boxes[:, 1::2], np.float32(0))
        outside = (below + above).sum(axis=1, dtype=np.float64)
        stretched = outside + forest.spans[node]
        # A leaf that equals the row spans nothing, stretched or not: nothing to separate.
        separation = np.divide(outside, stretched, out=np.zeros_like(outside), where=stretched > 0)
        gain = unseparated * separation * unseen
        unseparated *= 1.0 - separation
        at_leaf = trees.cut_dims[node] == LEAF
        gain[at_leaf] += unseparated[at_leaf] * forest.seen[node[at_leaf]]
        scores += np.bincount(row, weights=gain, minlength=len(rows))
        going = ~at_leaf
        if not going.any():
            break
        row, node, unseparated, values = row[going], node[going], unseparated[going], values[going]
        cut_values = values[np.arange(len(row)), trees.cut_dims[node]]
        node = trees.lefts[node] + (cut_values > trees.cut_values[node])
    return scores
