"""At the limit of a resource."""

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import ArraySpec, Axis, Home, Rows
from treeline.core.channels.channel import MetricChannel, Rarity, State, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray

HOURS = 24
HOUR_MS = 3_600_000
ONE = np.float32(3.0)  # metric; one thrice as high as P2 asks for, as a budget of pages may raise that
USUAL_DAYS = 2  # in training: what happened on one day only may have been an incident


class Saturation(MetricChannel):
    """How many metrics are used up, at an hour at which that is not usual for the server."""

    name = "saturation"
    title = "saturation"
    meaning = "a resource is used up"
    view = (
        "whether the value has reached the metric's `saturated_above`, lies above what is expected now, and did not "
        "reach it at this hour of the day, nor in an hour beside it, on two days of training"
    )
    aggregate = "three for each such metric"
    floors = Thresholds(p2=1.0, p1=10.0)
    rarity = Rarity(p2=0.0, p1=0.0)
    p2_pages = None
    is_standardized = True
    is_free_of_model = True
    # One bit an hour of the server's local day: set where the metric was saturated in training.
    arrays = (ArraySpec("saturated_hours", "u4", (Axis.METRICS,), home=Home.PACKAGE),)

    def past(self) -> str:
        """The hours of training."""
        return "the hours of the day at which the server was saturated in training"

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """How many metrics are saturated, with room below for thresholds that a budget of pages has raised."""
        count: FloatArray = ONE * views.saturated.sum(axis=1, dtype=np.float32)
        return count


def is_usual(state: State, at: Rows, local_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether training saw a metric saturated at this hour, shape (n, metrics)."""
    hour = (local_ms // HOUR_MS % HOURS).astype(np.uint32)[:, None]
    usual: npt.NDArray[np.bool_] = (state.saturated_hours[at] >> hour & np.uint32(1)).astype(bool)
    return usual


def usual_hours(local_ms: npt.NDArray[np.int64], saturated: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    """The hours of the day at which a server's metrics were saturated on several days, as `saturated_hours` has them.

    Args:
        local_ms: Local times of a server's past, shape (n,).
        saturated: Whether each metric was, shape (n, metrics).

    Returns:
        Shape (metrics,), a bit an hour; the hours before and after such an hour are set too.
    """
    bits = np.zeros(saturated.shape[1], dtype=np.uint32)
    for metric in range(saturated.shape[1]):
        hours = np.unique(local_ms[saturated[:, metric]] // HOUR_MS)  # of each day, once
        days = np.bincount(hours % HOURS, minlength=HOURS)
        usual = days >= USUAL_DAYS
        usual = usual | np.roll(usual, 1) | np.roll(usual, -1)
        bits[metric] = np.sum(np.uint32(1) << np.flatnonzero(usual).astype(np.uint32), dtype=np.uint32)
    return bits
