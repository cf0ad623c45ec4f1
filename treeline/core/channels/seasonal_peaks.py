"""Seasonal peaks: what a server does at the same time of every day is no incident.

For each server a table of 96 quarter hours holds the largest measure seen in each of them on earlier days, less a tenth
a day. A measure no larger than what the same quarter hour or one of its neighbours holds counts as nothing. A threshold
by time of day is CloudWatch's and Prophet's idea; the table is ours (decision 20). Its arrays are stored as `habit`.
"""

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import NEVER, ArraySpec
from treeline.core.channels.channel import State
from treeline.core.statistics import FloatArray

SLOTS = 96  # quarter hours of a day
LAG = 8  # quarter hours until a peak enters the table
SLOT_MS = 86_400_000 // SLOTS
FADE = 0.9  # a day
LARGEST = 1000.0  # fits the table's float16
SMALLEST = 3.0  # standard deviations; smaller peaks excuse nothing
ARRAYS = (
    ArraySpec("habit", "f2", (SLOTS,)),
    ArraySpec("habit_recent", "f2", (LAG,)),
    ArraySpec("habit_slot", "i8", (), NEVER),
)


def allowed(state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64]) -> FloatArray:
    """The largest measure that is usual for each server at this time of day, 0.0 where nothing is."""
    slot = (observed_at // SLOT_MS % SLOTS).astype(np.intp)
    before, now, after = (state.habit[rows, (slot + shift) % SLOTS] for shift in (-1, 0, 1))
    largest = np.maximum(np.maximum(before, now), after)
    usual: FloatArray = np.where(largest >= SMALLEST, largest, 0.0)
    return usual


def remember(state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], measure: FloatArray) -> None:
    """Note the measures. They enter the table two hours later: an incident must not excuse its own next quarter hour.

    Args:
        state: Changed in place.
        rows: Distinct rows, shape (n,).
        observed_at: Milliseconds, shape (n,).
        measure: Standard deviations, shape (n,).
    """
    slot = observed_at // SLOT_MS
    known = state.habit_slot[rows]
    moved = np.flatnonzero(slot > known)
    if len(moved):
        _commit(state, rows[moved], known[moved], slot[moved])
    column = (slot % LAG).astype(np.intp)
    on_time = slot >= known
    recent = state.habit_recent[rows, column]
    state.habit_recent[rows, column] = np.where(on_time, np.maximum(recent, np.minimum(measure, LARGEST)), recent)


def _commit(
    state: State, rows: npt.NDArray[np.intp], known: npt.NDArray[np.int64], slot: npt.NDArray[np.int64]
) -> None:
    """Move what is older than the lag from the recent peaks into the table."""
    first = known == NEVER
    steps = np.where(first, 0, np.minimum(slot - known, LAG))
    for step in range(int(steps.max(initial=0))):
        due = np.flatnonzero(steps > step)
        row, now = rows[due], known[due] + step + 1
        column = (now % LAG).astype(np.intp)
        place = ((now - LAG) % SLOTS).astype(np.intp)
        state.habit[row, place] = np.maximum(state.habit[row, place] * FADE, state.habit_recent[row, column])
        state.habit_recent[row, column] = 0.0
    state.habit_slot[rows] = slot
