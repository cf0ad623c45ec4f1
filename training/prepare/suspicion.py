"""What nobody labelled: stretches of hours in which a server is where it otherwise never is (`suspected_fault`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.history.grid import Grid
from training.prepare.hygiene import Exclusion, Reason, runs

HOUR_MS = 3_600_000
FAR_SD = 6.0  # from an hour of the day's usual mean, in robust standard deviations
LEAST_HOURS = 6  # that a stretch must be far off for
BRIDGE_HOURS = 18  # hours no further apart than this are one stretch: a fault may show by day only
MARGIN_HOURS = 3  # left out on either side of a stretch
BEYOND_SD = 3.0  # beyond everything outside it: what comes back (weekends, month ends) is usual, however strange
LEAST_DAYS = 13.0  # with one weekend only, a weekend is something new
SHARED_SERVERS, SHARED_SHARE = 3, 0.05  # what so many servers, and this share of the fleet, do at once is load
MOST_DAYS, MOST_SHARE = 14.0, 0.4  # what lasts longer, or for more of the history, is the new normal


def suspected(
    servers: Sequence[str],
    metrics: Sequence[str],
    hours: npt.NDArray[np.int64],
    means: npt.NDArray[np.floating[Any]],
    span: tuple[int, int],
) -> list[Exclusion]:
    """Stretches of hours at which a server is where it otherwise never is.

    Args:
        servers: By column.
        metrics: By last axis.
        hours: Hours since the epoch, shape (n,), increasing.
        means: Each hour's means, shape (n, servers, metrics), NaN where absent.
        span: First and last ms of the history.
    """
    if not len(hours) or hours[-1] - hours[0] < LEAST_DAYS * 24:
        return []  # with one weekend only, a weekend is something new
    hour_of_day = hours % 24
    suspect = np.zeros((len(hours), len(servers), len(metrics)), dtype=bool)
    for column in range(len(servers)):
        deviation = _deviation(hour_of_day, means[:, column].astype(np.float64))
        for m in range(len(metrics)):
            suspect[:, column, m] = _novel(hours, deviation[:, m])
    together = suspect.any(axis=2).sum(axis=1)
    shared = together >= max(SHARED_SERVERS, SHARED_SHARE * len(servers))
    found = []
    for column, server in enumerate(servers):
        for start, end in runs(np.logical_or.reduce(suspect[:, column], axis=1)):
            if shared[start:end].mean() > 0.5:
                continue
            names = [name for m, name in enumerate(metrics) if suspect[start:end, column, m].any()]
            # Quiet hours hide a fault's edges; one that may still be on at the history's end is not over.
            open_end = hours[-1] - hours[end - 1] <= BRIDGE_HOURS
            until = span[1] if open_end else (int(hours[end - 1]) + 1 + MARGIN_HOURS) * HOUR_MS - 1
            found.append(
                Exclusion(
                    server_id=server,
                    start_ms=max((int(hours[start]) - MARGIN_HOURS) * HOUR_MS, span[0]),
                    end_ms=min(until, span[1]),
                    reason=Reason.SUSPECTED,
                    detail=",".join(names),
                )
            )
    return found


def hourly(grid: Grid) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Hours since the epoch (n,) and each server's mean of every metric in them (n, servers, metrics)."""
    hour = grid.times_ms // HOUR_MS
    hours, starts = np.unique(hour, return_index=True)
    present = np.add.reduceat(~np.isnan(grid.values), starts, axis=0, dtype=np.int32)
    total = np.add.reduceat(np.nan_to_num(grid.values), starts, axis=0, dtype=np.float64)
    return hours, np.where(present > 0, total / np.maximum(present, 1), np.nan)


def _deviation(hour_of_day: npt.NDArray[np.int64], means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each hour is from the median of its hour of the day, in robust sds; NaN where absent."""
    usual = np.zeros_like(means)
    for hour in range(24):
        own = hour_of_day == hour
        if own.any():
            usual[own] = _nanmedian(means[own])
    residual = means - usual
    spread = 1.4826 * _nanmedian(np.abs(residual))
    low, high = np.nanquantile(np.where(np.isnan(means).all(axis=0), 0.0, means), [0.01, 0.99], axis=0)
    floor = np.maximum(0.01 * (high - low), 1e-3 * (1.0 + np.abs(_nanmedian(means))))
    return np.asarray(residual / np.maximum(spread, floor))


def _novel(hours: npt.NDArray[np.int64], deviation: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Hours of stretches that are long, far off, and unlike anything outside them."""
    suspect = np.zeros(len(hours), dtype=bool)
    for sign in (1.0, -1.0):
        signed = sign * deviation
        far = np.nan_to_num(signed, nan=0.0) > FAR_SD
        for start, end in runs(far, bridge=BRIDGE_HOURS):
            length = int(hours[end - 1] - hours[start]) + 1
            longest = min(24 * MOST_DAYS, MOST_SHARE * len(hours))
            if not (length <= longest and far[start:end].sum() >= LEAST_HOURS):
                continue
            outside = np.concatenate([signed[: max(0, start - 6)], signed[end + 6 :]])
            outside = outside[~np.isnan(outside)]
            inside = float(np.median(signed[start:end][far[start:end]]))
            if len(outside) and inside > float(np.quantile(outside, 0.995)) + BEYOND_SD:
                suspect[start:end] = True
    return suspect


def _nanmedian(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Median over the first axis, 0 for a column of nothing."""
    empty = np.isnan(values).all(axis=0)
    return np.asarray(np.nanmedian(np.where(empty, 0.0, values), axis=0))
