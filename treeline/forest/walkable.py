"""What a walk through the trees reads, computed once from a forest's nodes.

The score is AWS's open-source damped expected depth (`AnomalyScoreVisitor` in aws/random-cut-forest-by-aws): down to
the leaf a row belongs to by the cuts alone, then up again, `score = p * unseen(depth) + (1 - p) * score` at each box
passed. p is the probability that a cut of the box, stretched to hold the row, separates the two; it depends on how far
the row lies outside of the box. Boxes hold those below them, so once a row lies inside of one, p is 0 there and at all
above: the way up ends. A normal row is outside of a few of its fifteen boxes, so the boxes, which are most of a
forest's memory, are mostly never read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from treeline.forest.growth import LEAF, Trees


@dataclass(frozen=True, slots=True, eq=False)
class Walkable:
    """A forest's nodes as both kernels read them. A leaf leads to itself, so a step too many changes nothing."""

    roots: NDArray[np.int32]  # (trees,)
    boxes: NDArray[np.float32]  # (nodes, 2 * features), those of `Trees`, not a copy
    spans: NDArray[np.float32]  # (nodes,) sum of the sides of the node's box
    cut_columns: NDArray[np.int32]  # (nodes,) the column of a doubled row that is compared; any for a leaf
    cut_values: NDArray[np.float32]  # (nodes,) infinity for a leaf: no row is beyond it
    lefts: NDArray[np.int32]  # (nodes,) where a row that is not beyond the cut goes, the others to the next; or itself
    parents: NDArray[np.int32]  # (nodes,) a root is its own
    depths: NDArray[np.int32]  # (nodes,) 0 for a root
    unseen: NDArray[np.float64]  # (longest depth + 1,) what separating a row at a depth adds to the forest's score
    seen: NDArray[np.float64]  # (nodes,) what reaching a leaf that equals the row adds; 0 for inner nodes


def prepare(trees: Trees) -> Walkable:
    """Precompute each node's share of the score, `log2(1 + mass of the tree) / trees` already multiplied in."""
    depths = _depths(trees)
    mass = int(trees.masses[trees.roots[0]])
    scale = np.log2(1.0 + mass) / len(trees.roots)
    leaf = trees.cut_dims == LEAF
    inner = np.flatnonzero(~leaf).astype(np.int32)
    leaf_mass = trees.masses[leaf]
    damp = 1.0 - leaf_mass / (2.0 * mass)
    seen = np.zeros(len(depths))
    seen[leaf] = scale * damp / (depths[leaf] + np.log2(leaf_mass + 1.0))
    parents = np.arange(len(depths), dtype=np.int32)
    parents[trees.lefts[inner]] = inner
    parents[trees.lefts[inner] + 1] = inner
    # Highest minus lowest of each feature, as the boxes hold the highest negated.
    sides = -(trees.boxes[:, 0::2] + trees.boxes[:, 1::2])
    return Walkable(
        roots=trees.roots,
        boxes=trees.boxes,
        spans=sides.sum(axis=1, dtype=np.float64).astype(np.float32),
        cut_columns=np.where(leaf, np.int32(0), 2 * trees.cut_dims),
        cut_values=np.where(leaf, np.float32(np.inf), trees.cut_values),
        lefts=np.where(leaf, np.arange(len(leaf), dtype=np.int32), trees.lefts),
        parents=parents,
        depths=depths,
        unseen=scale / (np.arange(depths.max() + 1) + 1.0),
        seen=seen,
    )


def double(rows: NDArray[np.float32], *, length: int) -> NDArray[np.float32]:
    """Each feature and its negative side by side, as in a box, and rows of zeros below up to `length`.

    How far a row lies outside of a box is then one expression for both ends: `max(box - doubled row, 0)`, summed.
    """
    doubled = np.zeros((length, 2 * rows.shape[1]), dtype=np.float32)
    doubled[: len(rows), 0::2] = rows
    np.negative(rows, out=doubled[: len(rows), 1::2])
    return doubled


def _depths(trees: Trees) -> NDArray[np.int32]:
    depths = np.zeros(len(trees.cut_dims), dtype=np.int32)
    level = trees.roots.astype(np.int64)
    depth = 0
    while len(level):
        depths[level] = depth
        lefts = trees.lefts[level[trees.cut_dims[level] != LEAF]].astype(np.int64)
        level = np.concatenate((lefts, lefts + 1))
        depth += 1
    return depths
