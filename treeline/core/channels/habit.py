"""What a server does at the same time of day again and again is a habit, not an incident.

A table of 96 quarter hours a server remembers the largest measure seen in each on earlier days, fading by a tenth a
day. A measure that does not exceed what the same quarter hour or a neighbour saw before counts as nothing. The idea
of a threshold that depends on the time of day is CloudWatch's and Prophet's; the table is ours (decision 20).
"""

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import NEVER, ArraySpec
from treeline.core.channels.channel import State
from treeline.core.statistics import FloatArray

HABIT_SLOTS = 96  # quarter hours of a day
HABIT_LAG = 8  # quarter hours until a peak enters the table
SLOT_MS = 86_400_000 // HABIT_SLOTS
FADE = 0.9  # a day
LARGEST = 1000.0  # fits the table's float16
SMALLEST = 3.0  # standard deviations; smaller peaks are no habit, and forbid nothing
ARRAYS = (
    ArraySpec("habit", "f2", (HABIT_SLOTS,)),
    ArraySpec("habit_recent", "f2", (HABIT_LAG,)),
    ArraySpec("habit_slot", "i8", (), NEVER),
)


def allowed(state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64]) -> FloatArray:
    """The largest measure that is usual for each server at this time of day, 0.0 where nothing is."""
    slot = (observed_at // SLOT_MS % HABIT_SLOTS).astype(np.intp)
    before, now, after = (state.habit[rows, (slot + shift) % HABIT_SLOTS] for shift in (-1, 0, 1))
    largest = np.maximum(np.maximum(before, now), after)
    usual: FloatArray = np.where(largest >= SMALLEST, largest, 0.0)
    return usual


def remember(state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], measure: FloatArray) -> None:
    """Note the measures. They enter the table two hours later: an incident must not excuse its own next quarter.

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
    column = (slot % HABIT_LAG).astype(np.intp)
    on_time = slot >= known
    recent = state.habit_recent[rows, column]
    state.habit_recent[rows, column] = np.where(on_time, np.maximum(recent, np.minimum(measure, LARGEST)), recent)


def _commit(
    state: State, rows: npt.NDArray[np.intp], known: npt.NDArray[np.int64], slot: npt.NDArray[np.int64]
) -> None:
    """Move what is older than the lag from the recent peaks into the table."""
    first = known == NEVER
    steps = np.where(first, 0, np.minimum(slot - known, HABIT_LAG))
    for step in range(int(steps.max(initial=0))):
        due = np.flatnonzero(steps > step)
        row, now = rows[due], known[due] + step + 1
        column = (now % HABIT_LAG).astype(np.intp)
        place = ((now - HABIT_LAG) % HABIT_SLOTS).astype(np.intp)
        state.habit[row, place] = np.maximum(state.habit[row, place] * FADE, state.habit_recent[row, column])
        state.habit_recent[row, column] = 0.0
    state.habit_slot[rows] = slot
