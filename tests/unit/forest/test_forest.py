import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from treeline.forest.forest import LARGEST_MAGNITUDE, RandomCutForest
from treeline.forest.growth import LEAF
from treeline.forest.kernels import kernel_named

LARGEST = float(np.float32(LARGEST_MAGNITUDE))
RNG = np.random.default_rng(20261122)
NORMAL = RNG.normal(size=(6000, 4))


def forest(rows=NORMAL, kernel="numpy", **wanted) -> RandomCutForest:
    return RandomCutForest.fit(
        rows, **{"num_trees": 30, "num_samples_per_tree": 100, "seed": 1} | wanted, kernel=kernel
    )


def score_as_aws_writes_it(trees, row: np.ndarray) -> float:
    """`AnomalyScoreVisitor`, literally: leaf first, then up to the root; mean over trees."""
    scores = []
    for root in trees.roots:
        path, node = [root], root
        while trees.cut_dims[node] != LEAF:
            node = trees.lefts[node] + (row[trees.cut_dims[node]] > trees.cut_values[node])
            path.append(node)
        tree_mass, leaf_mass, depth = int(trees.masses[root]), int(trees.masses[node]), len(path) - 1
        if (trees.boxes[node, 0::2] == row).all():
            score = (1 - leaf_mass / (2 * tree_mass)) / (depth + np.log2(leaf_mass + 1))
        else:
            score = 1 / (depth + 1)
            for depth, node in reversed(list(enumerate(path[:-1]))):
                low, high = trees.boxes[node, 0::2].astype(float), -trees.boxes[node, 1::2].astype(float)
                new_range = np.maximum(high, row) - np.minimum(low, row)
                probability = (new_range - (high - low)).sum() / new_range.sum()
                score = probability / (depth + 1) + (1 - probability) * score
        scores.append(score * np.log2(1 + tree_mass))
    return float(np.mean(scores))


def in_numpy(fitted: RandomCutForest) -> RandomCutForest:
    return RandomCutForest(fitted.trees, fitted.provenance, kernel="numpy")


@pytest.mark.parametrize("kernel", ["numba", "numpy"])
def test_the_score_is_the_one_aws_published(kernel):
    """Rows inside, outside, far away, and from the sample itself (seen leaves, duplicates among them)."""
    rows = np.round(NORMAL[:2000], 1).astype(np.float32)
    fitted = forest(rows, kernel)
    asked = np.concatenate((rows[:60], NORMAL[2000:2040], 5 * NORMAL[2000:2020], [[1e6, 0, 0, 0]])).astype(np.float32)
    expected = [score_as_aws_writes_it(fitted.trees, row) for row in asked]
    np.testing.assert_allclose(fitted.score(asked), expected, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    rows=arrays(
        np.float32, st.tuples(st.integers(5, 60), st.integers(1, 5)), elements=st.floats(-LARGEST, LARGEST, width=32)
    ),
    trees=st.integers(1, 5),
    seed=st.integers(0, 2**63),
)
def test_both_kernels_give_the_same_finite_scores(rows, trees, seed):
    fitted = RandomCutForest.fit(rows, num_trees=trees, num_samples_per_tree=20, seed=seed, kernel="numba")
    asked = np.concatenate((rows, rows[::-1] * np.float32(0.5)))
    compiled, plain = fitted.score(asked), in_numpy(fitted).score(asked)
    np.testing.assert_allclose(compiled, plain, rtol=1e-6, atol=0)
    assert np.isfinite(compiled).all()
    assert (compiled >= 0).all()


@pytest.mark.parametrize(("count", "features"), [(3000, 38), (200, 2000)])
def test_both_kernels_agree_on_many_and_on_wide_rows(count, features):
    """More rows than a block of either kernel, and so many features that the order they are added in matters."""
    rows = RNG.normal(size=(count, features)) * RNG.lognormal(0, 3, size=features)
    fitted = forest(rows, "numba")
    np.testing.assert_allclose(fitted.score(rows), in_numpy(fitted).score(rows), rtol=1e-6, atol=0)


def test_an_outlier_scores_higher_than_anything_normal():
    fitted = forest()
    assert fitted.score([[8.0, 0, 0, 0]])[0] > fitted.score(RNG.normal(size=(500, 4)) * 0.5).max()


def test_scores_do_not_depend_on_their_neighbours_in_the_request():
    fitted = forest()
    together = fitted.score(NORMAL[:700])
    alone = np.concatenate([fitted.score(NORMAL[i : i + 1]) for i in range(0, 700, 50)])
    np.testing.assert_array_equal(together[::50], alone)


def test_scaling_every_feature_alike_changes_no_score():
    """A power of two, so that float32 rounds alike on both scales."""
    np.testing.assert_allclose(
        forest(1024 * NORMAL).score(1024 * NORMAL[:200]), forest().score(NORMAL[:200]), rtol=1e-12
    )


def test_the_same_seed_gives_the_same_forest_and_another_seed_another():
    scores = [forest(seed=seed).score(NORMAL[:50]) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_trees_share_no_row():
    """A sample without replacement: with every row distinct and every row used, each is in exactly one tree."""
    rows = np.arange(300.0)[:, None]
    fitted = forest(rows, num_trees=30, num_samples_per_tree=10)
    leaves = fitted.trees.boxes[fitted.trees.cut_dims == LEAF, 0]
    assert sorted(leaves) == list(range(300))


def test_too_few_rows_shrink_the_trees_and_it_is_recorded():
    """SageMaker shrinks them silently: 4,032 rows on 50 trees of 512 make 80 samples a tree."""
    fitted = forest(NORMAL[:4032], num_trees=50, num_samples_per_tree=512)
    assert fitted.num_samples_per_tree == 80
    assert fitted.provenance.requested_samples_per_tree == 512
    assert fitted.provenance.training_rows == 4032


def test_what_a_forest_says_of_itself():
    fitted = forest()
    assert (fitted.feature_dim, fitted.num_trees, fitted.num_samples_per_tree) == (4, 30, 100)
    assert len(fitted.trees.masses) == 30 * (2 * 100 - 1)


def test_constant_training_data_separate_only_what_differs():
    fitted = forest(np.full((200, 2), 7.0), num_trees=10, num_samples_per_tree=20)
    same, other = fitted.score([[7.0, 7.0], [7.0, 7.5]])
    assert same == pytest.approx(0.5)  # damp 1/2, depth 0: (1/2) / log2(21), times log2(21)
    assert other == pytest.approx(np.log2(21))


@pytest.mark.parametrize("empty", [[], np.empty((0, 4)), np.empty((0, 0))])
def test_no_rows_have_no_scores(empty):
    scores = forest().score(empty)
    assert scores.shape == (0,)
    assert scores.dtype == np.float64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e31, 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_the_forest_cannot_judge_is_named(value, dtype):
    with np.errstate(over="ignore"):
        rows = np.zeros((5, 4)).astype(dtype)
        rows[3, 2] = value
    with pytest.raises(ValueError, match=r"row 3, column 2: .* is not a finite number"):
        forest().score(rows)
    with pytest.raises(ValueError, match="row 3, column 2"):
        forest(rows, num_trees=1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2, 3]], "expected 4 columns, got 3"),
        (np.empty((0, 3)), "expected 4 columns, got 3"),
        ([1, 2, 3, 4], r"got shape \(4,\)"),
        (np.zeros((2, 2, 4)), r"got shape \(2, 2, 4\)"),
    ],
)
def test_rows_of_another_shape_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        forest().score(rows)


@pytest.mark.parametrize(
    ("rows", "wanted", "message"),
    [
        (NORMAL[:10], {}, "30 trees need at least as many rows"),
        (np.empty((100, 0)), {}, "and a column"),
        (NORMAL, {"num_trees": 0}, "must be at least 1"),
        (NORMAL, {"num_samples_per_tree": 0}, "must be at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows, wanted, message):
    with pytest.raises(ValueError, match=message):
        forest(rows, **wanted)


def test_threads_may_share_a_forest():
    fitted = forest(kernel="numba")
    expected = fitted.score(NORMAL)
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(fitted.score(NORMAL))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for scores in found:
        np.testing.assert_array_equal(scores, expected)


def test_without_numba_auto_falls_back_to_numpy_and_numba_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "treeline.forest.compiled", raising=False)
    assert kernel_named("auto") is kernel_named("numpy")
    with pytest.raises(ModuleNotFoundError, match="numba"):
        kernel_named("numba")


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="auto, numba or numpy, got 'cuda'"):
        kernel_named("cuda")
