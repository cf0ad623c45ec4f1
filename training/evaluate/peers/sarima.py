"""SARIMA by statsmodels: seasonal difference of a day, ARMA(2, 1) on what is left, one model a metric.

Capped in three ways, or it would run for hours: it is fitted to the last FIT_ROWS rows; the season is taken out by
differencing (a seasonal state of 1440 steps has no practical filter); only the METRICS_AT_MOST liveliest metrics count.
"""

import warnings
from typing import Any

import numpy as np

from training.evaluate.peers.interface import Times, Values

FIT_ROWS = 1000
METRICS_AT_MOST = 6
ITERATIONS = 8
DAY_S = 86_400.0
FLOOR = 0.02  # of the training spread
SHORTEST = 200  # rows to fit on
LARGEST = 1e6


class Sarima:
    """Largest standardized one-step forecast error over the metrics."""

    def __init__(self, step_s: float) -> None:
        self._season = max(1, round(DAY_S / step_s))

    def fit(self, times_ms: Times, values: Values) -> None:
        """Fit each metric's model."""
        from statsmodels.tools.sm_exceptions import ConvergenceWarning
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        if len(values) < self._season + SHORTEST:
            self._season = 1  # too short to have a season
        differenced = self._difference(values)[self._season :]
        self._models: list[tuple[int, Any, float]] = []
        for metric in np.argsort(-differenced.std(axis=0))[:METRICS_AT_MOST].tolist():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the cap on iterations is meant
                warnings.simplefilter("ignore", UserWarning)  # starting values it had to replace
                warnings.simplefilter("ignore", RuntimeWarning)  # a metric that never moved
                model = SARIMAX(differenced[-FIT_ROWS:, metric], order=(2, 0, 1))
                fitted = model.fit(disp=False, maxiter=ITERATIONS, cov_type="none")
            self._models.append((metric, fitted, max(float(np.std(np.asarray(fitted.resid)[10:])), FLOOR)))

    def score(self, times_ms: Times, values: Values) -> Values:
        """Largest absolute error of the metrics' forecasts."""
        differenced = self._difference(values)
        largest = np.zeros(len(values))
        for metric, fitted, sd in self._models:
            filtered = fitted.model.clone(differenced[:, metric]).filter(fitted.params, cov_type="none")
            errors = np.asarray(filtered.resid)
            np.maximum(largest, np.abs(errors) / sd, out=largest)
        return np.nan_to_num(largest, posinf=LARGEST)

    def _difference(self, values: Values) -> Values:
        """Each value less that of a season ago; 0 for the first season."""
        differenced = np.zeros_like(values)
        differenced[self._season :] = values[self._season :] - values[: -self._season]
        return differenced
