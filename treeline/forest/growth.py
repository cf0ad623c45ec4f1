"""Grow the trees of a Random Cut Forest (Guha et al. 2016), all trees and all nodes of a level at once.

Level by level instead of node by node keeps the work inside numpy, so fitting needs no compiler and the same seed
gives the same forest everywhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAF = -1  # cut_dim of a leaf


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """The nodes of all trees in flat arrays; a tree's nodes are contiguous, the root first."""

    roots: NDArray[np.int32]  # (trees,) id of each root
    boxes: NDArray[np.float32]  # (nodes, 2 * features) lowest and minus highest value of a feature side by side
    cut_dims: NDArray[np.int32]  # (nodes,) the feature a node is cut in, LEAF for a leaf
    cut_values: NDArray[np.float32]  # (nodes,) float32; a row whose feature is <= this goes left
    lefts: NDArray[np.int32]  # (nodes,) absolute id of the left child; the right one is the next id. 0 for a leaf
    masses: NDArray[np.int32]  # (nodes,) sampled rows below the node, duplicates counted


@dataclass(slots=True)
class _Level:
    """Finished nodes of one depth, in the order of their tree."""

    trees: NDArray[np.int64]
    boxes: NDArray[np.float32]
    cut_dims: NDArray[np.int32]
    cut_values: NDArray[np.float32]
    masses: NDArray[np.int64]


def grow(rows: NDArray[np.float32], *, num_trees: int, rng: np.random.Generator) -> Trees:
    """Grow `num_trees` trees, the first from the first equal share of the rows, and so on.

    Args:
        rows: (num_trees * samples, features), finite, already sampled and shuffled.
        num_trees: Divides the number of rows.
        rng: Draws the cuts.
    """
    samples, features = len(rows) // num_trees, rows.shape[1]
    starts = np.arange(num_trees) * samples
    trees = np.arange(num_trees)
    levels: list[_Level] = []
    while len(starts):
        sizes = np.diff(starts, append=len(rows))
        level = _cut(rows, starts, sizes, trees, rng)
        levels.append(level)
        inner = level.cut_dims != LEAF
        rows, left_sizes = _partition(rows, sizes, level)
        sizes = np.column_stack((left_sizes, sizes[inner] - left_sizes)).ravel()
        starts = np.cumsum(sizes) - sizes
        trees = np.repeat(trees[inner], 2)
    return _flatten(levels, features)


def _cut(
    rows: NDArray[np.float32],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    trees: NDArray[np.int64],
    rng: np.random.Generator,
) -> _Level:
    """Bound each node's rows and cut each box at a point drawn uniformly from its sides laid end to end."""
    low = np.minimum.reduceat(rows, starts)
    high = np.maximum.reduceat(rows, starts)
    reach = np.cumsum(high.astype(np.float64) - low, axis=1)
    drawn = rng.random(len(starts)) * reach[:, -1]
    # The first side whose end lies beyond the drawn point; a side of length 0 is never it.
    dims = np.minimum((reach <= drawn[:, None]).sum(axis=1), _last_side(low, high))
    node = np.arange(len(starts))
    offset = drawn - np.where(dims > 0, reach[node, dims - 1], 0.0)
    values = (low[node, dims] + offset).astype(np.float32)
    # Rounding may not empty a side: low <= cut < high.
    below_high = np.nextafter(high[node, dims], np.float32(-np.inf))
    values = np.clip(values, low[node, dims], np.maximum(below_high, low[node, dims]))
    boxes = np.stack((low, -high), axis=2).reshape(len(starts), -1)
    is_leaf = reach[:, -1] == 0.0
    return _Level(
        trees=trees,
        boxes=boxes,
        cut_dims=np.where(is_leaf, LEAF, dims).astype(np.int32),
        cut_values=np.where(is_leaf, np.float32(0), values),
        masses=sizes,
    )


def _last_side(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.int64]:
    """The last feature in which each box has an extent (rounding can push the drawn point past the end)."""
    features = low.shape[1]
    last: NDArray[np.int64] = features - 1 - np.argmax((high > low)[:, ::-1], axis=1)
    return last


def _partition(
    rows: NDArray[np.float32], sizes: NDArray[np.int64], level: _Level
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rows of the inner nodes, each node's left rows before its right ones, and the numbers of left rows."""
    node_of_row = np.repeat(np.arange(len(sizes)), sizes)
    keep = level.cut_dims[node_of_row] != LEAF
    rows, node_of_row = rows[keep], node_of_row[keep]
    goes_right = rows[np.arange(len(rows)), level.cut_dims[node_of_row]] > level.cut_values[node_of_row]
    order = np.argsort(2 * node_of_row + goes_right, kind="stable")
    left_sizes = np.bincount(node_of_row[~goes_right], minlength=len(sizes))
    return rows[order], left_sizes[level.cut_dims != LEAF]


def _flatten(levels: list[_Level], features: int) -> Trees:
    """Number the nodes tree by tree, within a tree by depth, so that siblings stay neighbours."""
    trees = np.concatenate([level.trees for level in levels])
    cut_dims = np.concatenate([level.cut_dims for level in levels])
    order = np.argsort(trees, kind="stable")
    new_id = np.empty(len(order), dtype=np.int64)
    new_id[order] = np.arange(len(order))
    # The k-th inner node in order of depth has its children at the k-th pair behind the roots.
    inner = np.flatnonzero(cut_dims != LEAF)
    lefts = np.zeros(len(order), dtype=np.int64)
    lefts[inner] = new_id[len(levels[0].trees) + 2 * np.arange(len(inner))]
    return Trees(
        roots=new_id[: len(levels[0].trees)].astype(np.int32),
        boxes=np.concatenate([level.boxes for level in levels])[order].reshape(-1, 2 * features),
        cut_dims=cut_dims[order],
        cut_values=np.concatenate([level.cut_values for level in levels])[order],
        lefts=lefts[order].astype(np.int32),
        masses=np.concatenate([level.masses for level in levels])[order].astype(np.int32),
    )
