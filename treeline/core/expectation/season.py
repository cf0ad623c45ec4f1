"""The seasonal table: what each metric of a server does at each quarter hour of a weekday and of a weekend.

A row of the table is a slot, a quarter hour of local time. It learns whole slots: while one lasts, its values gather in
the state; at its end they are folded in, and the next slot's level is read from the table. So the table changes once a
quarter hour, whatever the sampling step, and between two changes nobody needs it (decision 0130).
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import NEVER, ArraySpec, Axis, Home, State
from treeline.core.statistics import FloatArray, clip

SLOTS = 96  # quarter hours of a day
SLOT_MS = 86_400_000 // SLOTS
KINDS = 2  # weekdays, weekends
BLOCK_SLOTS = 4  # the table is stored in blocks of so many slots of one kind of day (`treeline.core.state.table`)
BLOCKS = KINDS * SLOTS // BLOCK_SLOTS
SLOWEST = 0.2  # least weight of a day in a slot's averages: about the last five of its kind
TREND_S = 3 * 86_400.0  # the past whose level, and distances from it, a young table is shrunk to
PRIOR_SLOTS = 4.0  # how many slots the spread of training counts for in the mean square of the distance
PRIOR_DAYS = 4.0  # for how many days the server's own spread counts in a slot's: a few values a day say little of it
TREND_DAYS = 0.5  # how many days of its own the trailing level counts for in a young table
FLOOR_SD = 0.05  # of the training spread
CLIP_SD = 6.0  # an outage must not teach the table that outages are normal
_M = Axis.METRICS
ARRAYS = (
    ArraySpec("slot", "i8", (), NEVER),  # the local slot that gathers now, counted from 1970
    ArraySpec("slot_count", "f4", (_M,)),
    ArraySpec("slot_mean", "f4", (_M,)),
    ArraySpec("slot_square", "f4", (_M,)),  # mean square of the distance from the level
    ArraySpec("slot_level", "f4", (3, _M)),  # the table's level at the centres of the slot before, this one, the next
    ArraySpec("slot_sd", "f4", (_M,), 1.0),
    ArraySpec("season_square", "f4", (_M,), 1.0),  # mean square of the distance from a learned level over three days
    ArraySpec("season_slots", "f2", (_M,)),  # how many slots that mean is of
    ArraySpec("season_level", "f2", (KINDS, SLOTS, _M), None, Home.TABLE),
    ArraySpec("season_var", "f2", (KINDS, SLOTS, _M), None, Home.TABLE),
    ArraySpec("season_days", "f2", (KINDS, SLOTS), home=Home.TABLE),
)


def slot_of(local_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The slot of each local time, counted from 1970."""
    return local_ms // SLOT_MS


def turn(state: State, rows: npt.NDArray[np.intp], slot: npt.NDArray[np.int64], *, step_s: float) -> None:
    """Where a server's slot is over: fold it into the table, and read the new slot's level from there.

    Args:
        state: Changed in place.
        rows: Distinct rows, shape (n,).
        slot: Each server's slot now, shape (n,).
        step_s: The sampling step.
    """
    moved = np.flatnonzero(slot != state.slot[rows])
    if not len(moved):
        return
    rows, slot = rows[moved], slot[moved]
    known = np.flatnonzero(state.slot[rows] != NEVER)
    if len(known):
        _fold(state, rows[known], step_s)
    state.slot_level[rows], state.slot_sd[rows] = _read(state, rows, slot)
    state.slot[rows] = slot
    for name in ("slot_count", "slot_mean", "slot_square"):
        getattr(state, name)[rows] = 0.0


def place_of(slot: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Kind of day and quarter hour of a slot; 1970 began with a Thursday."""
    weekday = (slot // SLOTS + 3) % 7
    return (weekday >= 5).astype(np.intp), (slot % SLOTS).astype(np.intp)


def block_of(slot: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """The block of the table that each slot is in."""
    kind, place = place_of(slot)
    return (kind * SLOTS + place) // BLOCK_SLOTS


def slots_of(number: int) -> range:
    """The slots of a block on one day, as places of that day."""
    first = number * BLOCK_SLOTS % SLOTS
    return range(first, first + BLOCK_SLOTS)


def newest_in(number: int, before: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The newest slot of a block that lies before each of these slots; NEVER where the slot is NEVER."""
    kind, first = divmod(number * BLOCK_SLOTS, SLOTS)
    day, place = np.divmod(before - 1, SLOTS)
    day = day - (place < first)
    weekday = (day + 3) % 7
    back = np.where(weekday < 5, weekday + 1, 0) if kind else np.maximum(weekday - 4, 0)
    is_whole = (back > 0) | (place < first)  # the hour of an earlier day, which is over
    last = first + BLOCK_SLOTS - 1
    newest = (day - back) * SLOTS + np.where(is_whole, last, np.minimum(place, last))
    return np.where(before == NEVER, NEVER, newest)


def blocks_at(slots: Iterable[int]) -> set[int]:
    """The blocks of the table that are read where slots begin: their own and their neighbours', of both kinds."""
    places = {(slot + near) % SLOTS for slot in slots for near in (-1, 0, 1)}
    return {(kind * SLOTS + place) // BLOCK_SLOTS for place in places for kind in range(KINDS)}


def blocks_turned(state: State, rows: npt.NDArray[np.intp], slots: npt.NDArray[np.int64]) -> set[int]:
    """The blocks of the table that `turn` reads or changes for some observations; none where no slot is over.

    Args:
        state: Not changed.
        rows: The server's row of each observation, shape (n,).
        slots: The slot that each was made in, shape (n,).
    """
    if state.rolling_window_s:  # nothing is expected by the table
        return set()
    before = state.slot[rows]
    moved = slots != before
    finished = block_of(before[moved & (before != NEVER)])
    return blocks_at(np.unique(slots[moved]).tolist()) | set(np.unique(finished).tolist())


def level_at(state: State, at: npt.NDArray[np.intp] | slice, local_ms: npt.NDArray[np.int64]) -> FloatArray:
    """The level now, shape (n, metrics): linear between the centres of slots, in the spreads of training."""
    place = (local_ms % SLOT_MS / SLOT_MS - 0.5).astype(np.float32)[:, None]
    before, now, after = (state.slot_level[at, i] for i in range(3))
    level: FloatArray = now + np.abs(place) * (np.where(place < 0, before, after) - now)
    return level


def distance_from(state: State, at: npt.NDArray[np.intp] | slice, value: FloatArray, level: FloatArray) -> FloatArray:
    """How far values (n, metrics) are from the level, at most `CLIP_SD` of the slot's spread; NaN stays NaN."""
    reach = CLIP_SD * state.slot_sd[at]
    return clip(value - level, -reach, reach)


def gather(state: State, at: npt.NDArray[np.intp] | slice, level: FloatArray, distance: FloatArray) -> None:
    """Note values of the slot that lasts.

    Args:
        state: Changed in place.
        at: The servers' rows.
        level: The table's level at that time, shape (n, metrics), in the spreads of training.
        distance: How far each value is from it, by `distance_from`; NaN is skipped.
    """
    known = ~np.isnan(distance)
    distance = np.where(known, distance, 0.0)
    count = state.slot_count[at] + known
    weight = known / np.maximum(count, 1.0)
    state.slot_count[at] = count
    state.slot_mean[at] += weight * (level + distance - state.slot_mean[at])
    state.slot_square[at] += weight * (distance**2 - state.slot_square[at])


def _fold(state: State, rows: npt.NDArray[np.intp], step_s: float) -> None:
    """Fold the slot that is over into the table.

    A level is learned from the first day on. A distance says how far values stray only where a level was known before:
    on its first day a slot is held against the trailing mean, and the distance has the daily cycle in it.
    """
    kind, place = place_of(state.slot[rows])
    count = state.slot_count[rows]
    share = np.minimum(count * (step_s * 1000 / SLOT_MS), 1.0)
    days = state.season_days[rows, kind, place].astype(np.float32)
    is_known = (days + state.season_days[rows, 1 - kind, place].astype(np.float32) > 0)[:, None] & (count > 0)
    weight = np.maximum(SLOWEST, 1.0 / (days + 1.0))[:, None] * share
    square = state.slot_square[rows]
    for name, new, learned in (("season_level", state.slot_mean[rows], count > 0), ("season_var", square, is_known)):
        table = getattr(state, name)
        old = table[rows, kind, place].astype(np.float32)
        table[rows, kind, place] = np.where(learned, np.where(np.isnan(old), new, old + weight * (new - old)), old)
    state.season_days[rows, kind, place] = days + share.max(axis=1)
    slots, mean = state.season_slots[rows].astype(np.float32), state.season_square[rows]
    most = TREND_S / max(step_s, SLOT_MS / 1000)
    state.season_square[rows] = mean + np.where(is_known, share / (slots + PRIOR_SLOTS + 1.0) * (square - mean), 0.0)
    state.season_slots[rows] = np.minimum(slots + np.where(is_known, share, 0.0), most)


def _read(state: State, rows: npt.NDArray[np.intp], slot: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Levels at the slot before, this one and the next (n, 3, metrics), and the standard deviation (n, metrics).

    Each is shrunk to what there is: days of this kind, then of the other, then the trailing three days. A variance is
    shrunk to the mean square of the distance from the season: the values' own has the daily cycle in it, and a young
    table would call nothing far.
    """
    kind, place = place_of(slot)
    around = (place[:, None] + np.arange(-1, 2)) % SLOTS
    row, this, other = rows[:, None], kind[:, None], 1 - kind[:, None]

    def known(name: str, kind: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        values = getattr(state, name)[row, kind, around].astype(np.float32)
        days = state.season_days[row, kind, around].astype(np.float32)[..., None]
        absent = np.isnan(values)
        return np.where(absent, 0.0, days), np.where(absent, 0.0, values)

    days, level = known("season_level", this)
    more, other_level = known("season_level", other)
    trend = state.trend_mean[rows][:, None]
    both = (days * level + more * other_level + TREND_DAYS * trend) / (days + more + TREND_DAYS)
    levels = (days * level + both) / (days + 1.0)
    # Where a step is longer than a slot, the slots beside this one are never filled.
    levels = np.where((days + more == 0) & (days + more)[:, 1:2].astype(bool), levels[:, 1:2], levels)
    days, variance = (part[:, 1] for part in known("season_var", this))
    more, other_variance = (part[:, 1] for part in known("season_var", other))
    both_variance = days * variance + more * other_variance + PRIOR_DAYS * state.season_square[rows]
    both_variance /= days + more + PRIOR_DAYS
    variance = (days * variance + PRIOR_DAYS * both_variance) / (days + PRIOR_DAYS)
    return levels, np.sqrt(variance + FLOOR_SD**2)
