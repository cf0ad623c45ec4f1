"""How much of a forest's memory a row reads, and how many rows a second that reading alone would allow."""

import time
from dataclasses import dataclass

import numpy as np

from treeline.forest.forest import RandomCutForest
from treeline.forest.growth import LEAF

_BYTES_A_CUT = 12  # column, value and left child of a node that a row passes on its way down
_BYTES_A_SPAN = 4  # beside each box that is read on the way up


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one row's walk through all trees reads.

    The ceilings are what one core could score if reading those bytes in one stream were all its work: from one tree
    after the other, as in bulk, and from the whole forest, as a request of 50 rows must.
    """

    nodes_per_tree: float  # nodes a row passes in a tree, without the leaf
    boxes_per_tree: float  # boxes of them that are read: those the row is outside of, and the first that holds it
    kilobytes_per_row: float
    tree_kilobytes: float
    forest_megabytes: float
    read_gigabytes_per_s_tree: float
    read_gigabytes_per_s_forest: float
    ceiling_points_per_s: float
    ceiling_points_per_s_in_requests: float


def measure_traffic(forest: RandomCutForest, rows: np.ndarray) -> Traffic:
    """Count what the rows read of the forest, and measure how fast this machine reads as much memory."""
    nodes, boxes = count_visits(forest, rows)
    box_bytes = forest.trees.boxes.shape[1] * 4 + _BYTES_A_SPAN
    row_bytes = forest.num_trees * (nodes * _BYTES_A_CUT + boxes * box_bytes)
    forest_bytes = len(forest.trees.masses) * (_BYTES_A_CUT + box_bytes)
    tree_bytes = forest_bytes / forest.num_trees
    from_tree, from_forest = read_bytes_per_s(int(tree_bytes)), read_bytes_per_s(forest_bytes)
    return Traffic(
        nodes_per_tree=round(nodes, 1),
        boxes_per_tree=round(boxes, 1),
        kilobytes_per_row=round(row_bytes / 1e3, 1),
        tree_kilobytes=round(tree_bytes / 1e3, 1),
        forest_megabytes=round(forest_bytes / 1e6, 1),
        read_gigabytes_per_s_tree=round(from_tree / 1e9, 1),
        read_gigabytes_per_s_forest=round(from_forest / 1e9, 1),
        ceiling_points_per_s=round(from_tree / row_bytes),
        ceiling_points_per_s_in_requests=round(from_forest / row_bytes),
    )


def count_visits(forest: RandomCutForest, rows: np.ndarray) -> tuple[float, float]:
    """Inner nodes that a row passes in a tree, and boxes that it needs of them, on average."""
    trees = forest.trees
    values = np.repeat(rows, forest.num_trees, axis=0)
    node = np.tile(trees.roots, len(rows))
    passed = needed = 0
    going = trees.cut_dims[node] != LEAF
    holding = np.zeros(len(node), dtype=bool)
    while going.any():
        values, node, holding = values[going], node[going], holding[going]
        lows, highs = trees.boxes[node, 0::2], -trees.boxes[node, 1::2]
        held = ((lows <= values) & (values <= highs)).all(axis=1)
        passed += len(node)
        # Of the boxes that hold the row only the last is read: the box below it, or the leaf, shows that it was.
        needed += int((~held).sum()) + int((holding & ~held).sum())
        node = trees.lefts[node] + (values[np.arange(len(node)), trees.cut_dims[node]] > trees.cut_values[node])
        going, holding = trees.cut_dims[node] != LEAF, held
        needed += int((held & ~going).sum())
    pairs = len(rows) * forest.num_trees
    return passed / pairs, needed / pairs


def read_bytes_per_s(size: int) -> float:
    """How fast one core reads an array of that many bytes again and again; the best of some tries."""
    array = np.ones(size // 4, dtype=np.float32)
    again = np.broadcast_to(array, (max(1, 50_000_000 // size), len(array)))
    best = 0.0
    for _ in range(10):
        started = time.process_time()
        again.max(axis=1)
        best = max(best, again.size * 4 / (time.process_time() - started))
    return best
