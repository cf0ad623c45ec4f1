import numpy as np
import pytest

from treeline.forest.attribution import attribution, occlude
from treeline.forest.forest import RandomCutForest

ROWS = np.random.default_rng(4).normal(size=(4000, 4))
FOREST = RandomCutForest.fit(ROWS, num_trees=50, num_samples_per_tree=64, seed=2, kernel="numpy")


def test_the_feature_that_is_off_gets_the_blame():
    off = np.diag([9.0, -9.0, 9.0, -9.0])
    drops = occlude(FOREST.score, off, np.zeros(4))
    assert drops.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert (drops.max(axis=1) > 1.0).all()


def test_a_drop_is_the_score_minus_the_score_with_that_feature_replaced():
    rows, substitutes = ROWS[:3] * 4, ROWS[3:6]
    drops = occlude(FOREST.score, rows, substitutes)
    assert drops.shape == (3, 4)
    changed = rows[1].copy()
    changed[2] = substitutes[1, 2]
    assert drops[1, 2] == FOREST.score(rows[1:2])[0] - FOREST.score([changed])[0]


def test_a_feature_already_normal_has_no_part_in_the_score():
    row = np.array([[9.0, 0.0, 0.0, 0.0]])
    assert occlude(FOREST.score, row, np.zeros(4))[0, 1:].tolist() == [0, 0, 0]


def test_more_rows_than_one_block_are_attributed_alike():
    """The first column of the row is its score here, so each drop can be told by hand."""
    rows = np.arange(50_000.0)[:, None] * [1.0, 0.0]
    drops = occlude(lambda given: given[:, 0], rows, np.array([1.0, 5.0]))
    np.testing.assert_array_equal(drops[:, 0], rows[:, 0] - 1)
    np.testing.assert_array_equal(drops[:, 1], 0)


def test_no_rows_have_no_drops():
    assert occlude(FOREST.score, np.empty((0, 4)), np.zeros(4)).shape == (0, 4)


def test_an_alternative_may_change_several_features():
    """One metric feeds several features; its alternative puts all of them back at once, in one request."""
    asked: list[np.ndarray] = []

    def score(rows: np.ndarray) -> np.ndarray:
        asked.append(rows)
        return FOREST.score(rows)

    row = np.array([9.0, 9.0, 0.5, 0.5])
    drops = attribution(score, row, [[0.0, 0.0, 0.5, 0.5], [9.0, 9.0, 0.0, 0.0]])
    assert drops[0] > 1.0 > abs(drops[1])
    assert len(asked) == 1


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(4,\), \(1, 3\)"):
        attribution(FOREST.score, np.zeros(4), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"got shape \(4,\)"):
        occlude(FOREST.score, np.zeros(4), np.zeros(4))
    with pytest.raises(ValueError, match="broadcast"):
        occlude(FOREST.score, np.zeros((2, 4)), np.zeros(3))
