"""Does a measure fire at the same time every day? Then it is a job, not an incident."""

import numpy as np
import numpy.typing as npt

from treeline.core.statistics import FloatArray

PAGES_PER_WEEK = 5.0
MIN_PAGES = 4
SAME_TIME_MS = 20 * 60_000
DAY_MS = 86_400_000
APART_MS = 3_600_000  # exceedances closer than this are one page
MIN_FELLOWS = 2


def pages_at(times_ms: npt.NDArray[np.int64], measure: FloatArray, threshold: float) -> npt.NDArray[np.int64]:
    """Start times of runs above the threshold, runs less than an hour apart counted once."""
    above = times_ms[measure > threshold]
    if not len(above):
        return above
    starts = np.concatenate([np.array([True]), np.diff(above) >= APART_MS])
    return np.asarray(above[starts])


def is_periodic(times_ms: npt.NDArray[np.int64], measure: FloatArray) -> bool:
    """Whether the strongest firings (five a week) mostly share their time of day with two others.

    Args:
        times_ms: Shape (n,), increasing.
        measure: Shape (n,), larger is stranger; -inf where unknown.
    """
    known = measure[np.isfinite(measure)]
    if len(known) < 2:
        return False
    weeks = (times_ms[-1] - times_ms[0]) / (7 * DAY_MS)
    wanted = max(PAGES_PER_WEEK * weeks, MIN_PAGES)
    pages = times_ms[:0]
    for threshold in np.quantile(known, 1.0 - np.geomspace(1e-5, 0.05, 40)):
        pages = pages_at(times_ms, measure, float(threshold))
        if len(pages) >= wanted:
            break
    if len(pages) < MIN_PAGES:
        return False
    time_of_day = pages % DAY_MS
    distance = np.abs(time_of_day[:, None] - time_of_day[None, :])
    near = np.minimum(distance, DAY_MS - distance) <= SAME_TIME_MS
    fellows = near.sum(axis=1) - 1
    return bool((fellows >= MIN_FELLOWS).mean() > 0.5)
