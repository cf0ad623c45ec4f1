import time

import numpy as np
import pytest

from treeline.forest.forest import RandomCutForest


@pytest.mark.parametrize(("features", "budget_ms"), [(8, 5), (76, 20)])
def test_a_request_is_scored_with_numpy_alone_within_its_budget(features, budget_ms):
    """Where the forest runs inside a Lambda function: 50 servers, two measures of 4 and of 38 metrics, 50 x 512.

    CPU time, the best of some tries, as others use the machine too; a third to half of the budget where it was written.
    """
    rows = np.random.default_rng(1).normal(size=(25_600, features)).astype(np.float32)
    forest = RandomCutForest.fit(rows, num_trees=50, num_samples_per_tree=512, seed=1, kernel="numpy")
    taken = []
    for _ in range(15):
        started = time.process_time()
        forest.score(rows[:50] * 1.5)
        taken.append(1000 * (time.process_time() - started))
    assert min(taken) <= budget_ms
