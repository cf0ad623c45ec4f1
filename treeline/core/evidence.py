"""The evidence of one observation: each measured value beside what its server normally has."""

from collections.abc import Mapping, Sequence

import numpy as np

from treeline.core.alert import MetricEvidence
from treeline.core.statistics import FloatArray

BAND_SD = 3.0  # half the width of the band that people are shown, in standard deviations


def metric_evidence(
    names: Sequence[str], measured: FloatArray, expected: FloatArray, spread: FloatArray, units: Mapping[str, str]
) -> list[MetricEvidence]:
    """Every metric that has a baseline, the one farthest from its expected value first.

    Args:
        names: Of the metrics, in the order of the arrays.
        measured: Shape (metrics,), each in its own unit; NaN where the value is missing.
        expected: What the server usually has, same shape and units.
        spread: Standard deviation around it; 0 for a metric that has no baseline yet, which is left out.
        units: By metric name; what is not in it has no unit.
    """
    measured, expected, spread = (np.asarray(values, dtype=np.float64) for values in (measured, expected, spread))
    comparable = ~np.isnan(measured) & (spread > 0)
    deviation = np.divide(measured - expected, spread, out=np.zeros_like(measured), where=comparable)
    return [
        MetricEvidence(
            name=names[i],
            unit=units.get(names[i], ""),
            measured=None if np.isnan(measured[i]) else float(measured[i]),
            expected=float(expected[i]),
            low=float(expected[i] - BAND_SD * spread[i]),
            high=float(expected[i] + BAND_SD * spread[i]),
            deviation=round(float(deviation[i]), 3),
        )
        for i in np.argsort(-np.abs(deviation), kind="stable").tolist()
        if spread[i] > 0
    ]
