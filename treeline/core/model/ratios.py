"""Metrics in percent that look as if they came as a ratio: 0.42 for 42 %."""

import numpy as np
import numpy.typing as npt

from treeline.core.profile import Metric
from treeline.core.statistics import FloatArray

Counts = npt.NDArray[np.int64]


def is_percent(metric: Metric) -> bool:
    """Whether values of 0 to 100 are expected: by the unit, or by the name where no unit is declared."""
    return metric.unit == "%" or (not metric.unit and metric.name.endswith("percent"))


def ratio_hours(hours: npt.NDArray[np.int64], values: FloatArray) -> tuple[Counts, Counts]:
    """In how many hours a server's values look like ratios: all of them within 0 to 1, and not all 0.

    A server that does nothing all night looks so too, so this names a question and no error.

    Args:
        hours: Of one server's observations, in order, as any number that is the same within an hour; shape (n,).
        values: Shape (n, metrics), each metric in its own unit; NaN where missing.

    Returns:
        Of each metric the hours that look so, and the hours that have a value at all, both of shape (metrics,).
    """
    starts = np.flatnonzero(np.diff(hours, prepend=hours[:1] - 1))
    if not len(starts):
        none = np.zeros(values.shape[1], dtype=np.int64)
        return none, none
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)  # NaN where an hour has no value
    is_ratio = (low >= 0.0) & (high > 0.0) & (high <= 1.0)
    return np.count_nonzero(is_ratio, axis=0), np.count_nonzero(~np.isnan(high), axis=0)
