"""Streaming Random Cut Forest, AWS's own library by its Python binding `krcf`: scores, then learns, observations."""

from typing import Any

import numpy as np

from training.evaluate.peers.interface import Times, Values

TREES, SAMPLES = 50, 256


class StreamingForest:
    """One forest a server, which goes on learning while it detects."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, times_ms: Times, values: Values) -> None:
        """Start an empty forest; the training part is learned as it is scored."""
        from krcf import RandomCutForest, RandomCutForestOptions

        options = RandomCutForestOptions(
            dimensions=values.shape[1],
            shingle_size=1,
            num_trees=TREES,
            sample_size=SAMPLES,
            output_after=SAMPLES // 4,
            random_seed=self._seed,
            parallel_execution_enabled=False,
        )
        self._forest: Any = RandomCutForest(options)

    def score(self, times_ms: Times, values: Values) -> Values:
        """Score each observation, then learn it."""
        scores = np.empty(len(values))
        for i, point in enumerate(values.astype(np.float32).tolist()):
            scores[i] = self._forest.score(point)
            self._forest.update(point)
        return scores
