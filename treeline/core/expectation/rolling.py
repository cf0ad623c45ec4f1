"""The plain rolling z-score: the mean and standard deviation of a metric's own last W seconds, as an expectation.

A model trained with it has it for every series. The window is kept in twelve parts, of many metrics in six: the one
that gathers now and those before it, each as count, mean and mean square distance from that. So it reaches back between
11/12 (5/6) of W and W, and a state has the same size whatever W and the sampling step are (decision 0140).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import ArraySpec, Axis, Rows, State
from treeline.core.expectation.rolling_limits import PARTS
from treeline.core.statistics import FloatArray, bounded_step, ew_alpha

FEWEST = 10  # values; fewer say nothing, and the trailing day stands in
_M = Axis.METRICS
_OF_A_PART = ("count", "mean", "square")  # the latter: mean square of the distance from the part's mean


def arrays(parts: int) -> tuple[ArraySpec, ...]:
    """What a state stores of a window in so many parts; that of a model never changes."""
    return (
        ArraySpec("rolling_part_s", "f4"),  # how long the part that gathers has lasted
        ArraySpec("rolling_place", "u1"),  # where it will stand among the finished ones, in place of the oldest
        ArraySpec("rolling_count", "u2", (parts - 1, _M)),
        ArraySpec("rolling_mean", "f2", (parts - 1, _M)),
        ArraySpec("rolling_square", "f2", (parts - 1, _M)),
        ArraySpec("gathered_count", "u2", (_M,)),
        ArraySpec("gathered_mean", "f4", (_M,)),
        ArraySpec("gathered_square", "f4", (_M,)),
    )


NAMES = tuple(spec.name for spec in arrays(PARTS))
COUNTS = ("rolling_count", "gathered_count")  # a metric of which these are 0 has an empty window


def moments(state: State, at: Rows, elapsed_s: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Mean and standard deviation over the window, and whether it holds enough values; shape (n, metrics) each.

    In the spreads of training; where there are too few values, the two mean nothing.

    Args:
        state: Of a model with a rolling window; not changed.
        at: The servers' rows.
        elapsed_s: Seconds since each server's observation before, shape (n,); a window's length or more empties it.
    """
    count, mean, square = (
        np.concatenate([getattr(state, f"rolling_{name}")[at], getattr(state, f"gathered_{name}")[at][:, None]], axis=1)
        for name in _OF_A_PART
    )
    total = count.sum(axis=1, dtype=np.float32)
    share = count / np.maximum(total, 1.0)[:, None]
    middle = (share * mean).sum(axis=1)
    variance = (share * (square + (mean - middle[:, None]) ** 2)).sum(axis=1)
    is_known = (total >= FEWEST) & (elapsed_s < state.rolling_window_s)[:, None]
    return middle, np.sqrt(variance), is_known


def learn(
    state: State, at: Rows, value: FloatArray, expected: FloatArray, sd: FloatArray, elapsed_s: FloatArray
) -> None:
    """Learn values after they were compared. Changes the state.

    Args:
        state: Of a model with a rolling window.
        at: The servers' rows.
        value: Shape (n, metrics), in the spreads of training; NaN is skipped.
        expected: What was expected of them, same shape.
        sd: Its standard deviation. No value moves the window further than one that doubles its variance would.
        elapsed_s: Seconds by which each server's window moves on, shape (n,); 0 while it is to stay as it is.
    """
    parts = state.rolling_count.shape[1] + 1
    part_s = state.rolling_window_s / parts
    lasted = state.rolling_part_s[at] + elapsed_s
    over = np.floor(lasted / part_s)
    state.rolling_part_s[at] = lasted - over * part_s
    if over.any():
        rows = np.arange(len(state.rolling_place))[at]
        _finish(state, rows[over > 0], np.minimum(over[over > 0], parts).astype(np.intp))
    alpha = ew_alpha(elapsed_s, state.rolling_window_s)[:, None]
    bounded = bounded_step(value, expected, sd**2, sd, alpha)
    known = ~np.isnan(value)
    count = state.gathered_count[at] + known
    weight = known / np.maximum(count, 1)
    distance = np.where(known, bounded - state.gathered_mean[at], 0.0)
    state.gathered_count[at] = count
    state.gathered_mean[at] += weight * distance
    state.gathered_square[at] = (1.0 - weight) * (state.gathered_square[at] + weight * distance**2)


def _finish(state: State, rows: npt.NDArray[np.intp], over: npt.NDArray[np.intp]) -> None:
    """Put away what these servers gathered, and let the window move on by `over` parts, in which else nothing came."""
    place, others = state.rolling_place[rows].astype(np.intp), state.rolling_count.shape[1]
    for name in _OF_A_PART:
        finished, gathered = getattr(state, f"rolling_{name}"), getattr(state, f"gathered_{name}")
        finished[rows, place] = gathered[rows]
        gathered[rows] = 0
    later = (np.arange(others) - place[:, None]) % others  # 0: the part that was put away
    is_empty = (later < over[:, None]) & ((later > 0) | (over > others)[:, None])
    for name in _OF_A_PART:
        finished = getattr(state, f"rolling_{name}")
        finished[rows] = np.where(is_empty[..., None], 0, finished[rows])
    state.rolling_place[rows] = (place + over) % others


def rescaled(values: dict[str, Any], ratio: FloatArray, offset: FloatArray) -> dict[str, Any]:
    """One server's window, of those of its values that are here, in the spreads of another baseline.

    Args:
        values: Of one server, by name, under the baseline before.
        ratio: Old spread by new spread, shape (metrics,).
        offset: Where the old mean lies in the new baseline, in new spreads, same shape.
    """
    here = [kept for kept in ("rolling", "gathered") if f"{kept}_mean" in values]
    means: dict[str, Any] = {f"{kept}_mean": values[f"{kept}_mean"] * ratio + offset for kept in here}
    return means | {f"{kept}_square": values[f"{kept}_square"] * ratio**2 for kept in here}
