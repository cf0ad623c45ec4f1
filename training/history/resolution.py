"""One baseline from data of several resolutions, without the error of mixing them.

CloudWatch keeps averages: the variance of hourly averages lacks what varied within the hours, so pooling them with
1-minute values would make every spread too small and every z-score too large. Here each resolution has its own
moments; the part it lost is measured where the finest one is at hand, and added back (law of total variance:
variance of values = variance of the averages + mean variance within them). A value counts for the time it covers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.history.files import History, open_history
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.statistics import FloatArray, within_reach
from treeline.core.times import from_ms

_FOLDER = "period_s="


@dataclass(frozen=True, slots=True)
class ResolvedSeries:
    """One server at one resolution: times (n,) in ms, increasing, and values (n, metrics), NaN where missing."""

    times_ms: NDArray[np.int64]
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Mixed:
    """Of each metric over all resolutions: mean, standard deviation and 0.1 to 99.9 % range as of the finest values."""

    mean: FloatArray
    sd: FloatArray
    value_range: FloatArray


def open_resolutions(root: Path | str, declared: Sequence[Metric] = DEFAULT_METRICS) -> dict[int, History]:
    """The histories of a folder that `treeline history fetch` wrote, by period in seconds; of any other, the one."""
    folders = sorted(Path(root).glob(f"{_FOLDER}*"))
    opened = {int(folder.name.removeprefix(_FOLDER)): open_history(folder, declared=declared) for folder in folders}
    if not opened:
        history = open_history(root, declared=declared)
        opened = {round(history.step_s): history}
    return dict(sorted(opened.items()))


def narrowed(by_period: Mapping[int, History], start_ms: int, end_ms: int) -> dict[int, History]:
    """The histories' parts in [start_ms, end_ms], metrics as they are; those without one are left out."""
    start, end = from_ms(start_ms), from_ms(end_ms)
    return {
        period_s: open_history(history.path, start=start, end=end, declared=history.declared).of_metrics(
            history.metrics
        )
        for period_s, history in by_period.items()
        if any(rows.first_ms <= end_ms and rows.last_ms >= start_ms for rows in history.rows.values())
    }


def variance_within(fine: ResolvedSeries, period_s: float) -> FloatArray:
    """The mean variance of the values inside one period, per metric; NaN where no period holds two."""
    period = fine.times_ms // (1000 * period_s)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(period) > 0])) if len(period) else np.empty(0, np.intp)
    within = np.full(fine.values.shape[1], np.nan)
    if not len(starts):
        return within
    data = within_reach(fine.values)
    seen = ~np.isnan(data)
    centre = np.where(seen.any(axis=0), np.nanmean(np.where(seen.any(axis=0), data, 0.0), axis=0), 0.0)
    shifted = np.where(seen, data - centre, 0.0)
    count = np.add.reduceat(seen, starts, axis=0, dtype=np.float64)
    total = np.add.reduceat(shifted, starts, axis=0)
    squares = np.add.reduceat(shifted**2, starts, axis=0)
    variance = squares / np.maximum(count, 1) - (total / np.maximum(count, 1)) ** 2
    for metric in range(len(within)):
        enough = count[:, metric] >= 2
        if enough.any():
            weights = count[enough, metric]
            within[metric] = np.sum(np.maximum(variance[enough, metric], 0.0) * weights) / weights.sum()
    return within


def mixed_baseline(by_period: Mapping[float, ResolvedSeries]) -> Mixed:
    """One server's statistics from all its resolutions, each series' own few absurd values bounded.

    Where the finest resolution cannot tell the variance within a coarser period (too little of it), that coarser
    one is left out: a mean without its spread would be worth less than nothing.
    `by_period` has series by period in seconds, and is not empty.
    """
    finest = min(by_period)
    fine = by_period[finest]
    metrics = fine.values.shape[1]
    weight, total, squares = np.zeros(metrics), np.zeros(metrics), np.zeros(metrics)
    low, high = np.full(metrics, np.inf), np.full(metrics, -np.inf)
    for period_s, series in sorted(by_period.items()):
        data = within_reach(series.values)
        seen = ~np.isnan(data)
        lost = np.zeros(metrics) if period_s == finest else variance_within(fine, period_s)
        use = seen.any(axis=0) & ~np.isnan(lost)
        if not use.any():
            continue
        filled = np.where(use, data, 0.0)
        counted = np.where(use, seen.sum(axis=0), 1)
        mean = np.nansum(filled, axis=0) / counted
        variance = np.nansum((filled - mean) ** 2, axis=0) / counted + np.nan_to_num(lost)
        time_s = np.where(use, counted * float(period_s), 0.0)
        delta = mean - total
        grown = np.maximum(weight + time_s, 1e-9)
        squares += time_s * variance + delta**2 * weight * time_s / grown
        total += delta * time_s / grown
        weight += time_s
        bounds = np.nanquantile(filled, [0.001, 0.999], axis=0)
        low, high = np.where(use, np.minimum(low, bounds[0]), low), np.where(use, np.maximum(high, bounds[1]), high)
    known = weight > 0
    return Mixed(
        mean=np.where(known, total, 0.0),
        sd=np.sqrt(squares / np.maximum(weight, 1e-9)),
        value_range=np.where(known, high - low, 0.0),
    )
