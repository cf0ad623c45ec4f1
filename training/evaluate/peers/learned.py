"""Peers from scikit-learn: one-class SVM, IsolationForest, and the reconstruction error of PCA."""

from typing import Any

import numpy as np

from training.evaluate.peers.interface import Times, Values

SVM_ROWS = 2000  # its cost grows with the square
KEPT_VARIANCE = 0.9


class OneClassSvm:
    """Distance from the border around the training part, radial basis."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, times_ms: Times, values: Values) -> None:
        """Learn a random share of the rows."""
        from sklearn.svm import OneClassSVM

        rng = np.random.default_rng(self._seed)
        rows = values if len(values) <= SVM_ROWS else values[rng.choice(len(values), SVM_ROWS, replace=False)]
        self._model: Any = OneClassSVM(nu=0.01, gamma="scale").fit(rows)

    def score(self, times_ms: Times, values: Values) -> Values:
        """Minus the decision function."""
        return -np.asarray(self._model.decision_function(values), dtype=np.float64)


class IsolatedForest:
    """scikit-learn's IsolationForest on the standardized values."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, times_ms: Times, values: Values) -> None:
        """Grow 100 trees."""
        from sklearn.ensemble import IsolationForest

        self._model: Any = IsolationForest(n_estimators=100, random_state=self._seed, n_jobs=1).fit(values)

    def score(self, times_ms: Times, values: Values) -> Values:
        """Its anomaly score, 0 to 1."""
        return -np.asarray(self._model.score_samples(values), dtype=np.float64)


class PrincipalComponents:
    """What the components that hold 90 % of the training variance leave unexplained."""

    def fit(self, times_ms: Times, values: Values) -> None:
        """Find the components; one is left out always, or nothing would be left to see."""
        from sklearn.decomposition import PCA

        self._model: Any = PCA().fit(values)
        share = np.cumsum(np.nan_to_num(self._model.explained_variance_ratio_))
        kept = min(int(np.searchsorted(share, KEPT_VARIANCE)) + 1, values.shape[1] - 1)
        self._directions = np.asarray(self._model.components_[:kept])

    def score(self, times_ms: Times, values: Values) -> Values:
        """Length of the part outside the components."""
        centred = values - self._model.mean_
        outside = centred - centred @ self._directions.T @ self._directions
        return np.asarray(np.linalg.norm(outside, axis=1))
