import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from treeline.forest.growth import LEAF, Trees, grow

# Few distinct values, so that duplicates, constant features and ties with a cut come up all the time.
CLUMPED = st.sampled_from([float(np.float32(x)) for x in (-1e30, -2, -1, -0.0, 0, 1e-45, 1, 1.0000001, 3, 1e30)])


def tables(rows: int = 24, features: int = 3) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, st.tuples(st.just(rows), st.integers(1, features)), elements=CLUMPED)


def rows_below(trees: Trees, root: int, rows: np.ndarray) -> dict[int, np.ndarray]:
    """The sampled rows below each node, found by walking every row down from the root."""
    found: dict[int, list[np.ndarray]] = {}
    for row in rows:
        node = root
        while True:
            found.setdefault(node, []).append(row)
            if trees.cut_dims[node] == LEAF:
                break
            node = trees.lefts[node] + (row[trees.cut_dims[node]] > trees.cut_values[node])
    return {node: np.array(members) for node, members in found.items()}


@settings(max_examples=60, deadline=None)
@given(rows=tables(), seed=st.integers(0, 2**32))
def test_every_node_holds_what_it_says_it_holds(rows, seed):
    """Boxes are tight, masses exact, cuts leave no side empty, leaves hold one distinct row."""
    trees = grow(rows, num_trees=3, rng=np.random.default_rng(seed))
    seen = set()
    for tree, root in enumerate(trees.roots):
        below = rows_below(trees, root, rows[8 * tree : 8 * tree + 8])
        for node, members in below.items():
            assert trees.masses[node] == len(members)
            np.testing.assert_array_equal(trees.boxes[node, 0::2], members.min(axis=0))
            np.testing.assert_array_equal(-trees.boxes[node, 1::2], members.max(axis=0))
            is_one_point = (members == members[0]).all()
            assert (trees.cut_dims[node] == LEAF) == is_one_point
        seen |= below.keys()
    assert seen == set(range(len(trees.masses))), "a node without a row has no place in a tree"


def test_a_feature_is_cut_in_proportion_to_its_side():
    """Two points one apart in x and three apart in y: three of four cuts are in y, uniform along it."""
    pairs = np.tile(np.array([[0, 0], [1, 3]], dtype=np.float32), (8000, 1))
    trees = grow(pairs, num_trees=8000, rng=np.random.default_rng(5))

    in_y = trees.cut_dims[trees.roots] == 1
    assert in_y.mean() == pytest.approx(0.75, abs=0.02)
    cuts = np.sort(trees.cut_values[trees.roots][in_y]) / 3
    uniform = (np.arange(len(cuts)) + 0.5) / len(cuts)
    assert np.abs(cuts - uniform).max() < 0.03, "Kolmogorov-Smirnov distance to the uniform distribution"


def test_duplicates_share_a_leaf():
    rows = np.array([[1, 1], [1, 1], [2, 2], [1, 1]], dtype=np.float32)
    trees = grow(rows, num_trees=1, rng=np.random.default_rng(0))
    assert sorted(trees.masses[trees.cut_dims == LEAF]) == [1, 3]


def test_a_tree_of_equal_rows_is_one_leaf():
    trees = grow(np.ones((10, 2), dtype=np.float32), num_trees=2, rng=np.random.default_rng(0))
    assert trees.cut_dims.tolist() == [LEAF, LEAF]
    assert trees.masses.tolist() == [5, 5]


def test_neighbouring_floats_are_still_separated():
    """Rounding may not put a cut on the upper point, or one child would be empty and growth never end."""
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    rows = np.array([[low], [high]] * 50, dtype=np.float32)
    trees = grow(rows, num_trees=50, rng=np.random.default_rng(0))
    assert len(trees.masses) == 150


def test_a_trees_nodes_lie_together_parents_before_children():
    rows = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
    trees = grow(rows, num_trees=4, rng=np.random.default_rng(0))
    bounds = [*trees.roots, len(trees.masses)]
    for root, end in itertools.pairwise(bounds):
        inner = np.flatnonzero(trees.cut_dims[root:end] != LEAF) + root
        assert (trees.lefts[inner] > inner).all()
        assert (trees.lefts[inner] + 1 < end).all()
