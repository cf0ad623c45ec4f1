"""A block of the seasonal table learned once more: what a lost one knew, from observations that are still stored."""

import numpy as np
import numpy.typing as npt

from treeline.core.detection import policy
from treeline.core.detection.detector import FROZEN_MS
from treeline.core.detection.features import Index
from treeline.core.detection.metric_warmup import without_unknown
from treeline.core.expectation import expectation, season
from treeline.core.state import table
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import NEVER
from treeline.core.statistics import FloatArray, standardize

Slots = npt.NDArray[np.int64]


def learn_again(
    state: FleetState,
    number: int,
    learned: Slots,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    local_ms: npt.NDArray[np.int64],
    values: FloatArray,
    *,
    step_s: float,
) -> int:
    """Fold the slots into a block of the table that it lacks, as detection did when they ended.

    What else a slot is held against (the trailing mean, spreads where the table is young) is as it is now, not as it
    was then. An open incident was not learned; only each server's last one is known.

    Args:
        state: Block `number` of its table is changed; blocks beside it are read.
        number: Which block.
        learned: By row the newest slot that the block knows, shape (servers,); later ones are learned, but for those
            that have not ended.
        rows: Row of each observation, shape (n,), in order of time; observations of other slots are left out.
        observed_at: Milliseconds, shape (n,).
        local_ms: The same in the server's local time.
        values: Shape (n, metrics), each in its own unit; NaN where missing.
        step_s: The profile's sampling step in seconds.

    Returns:
        How many slots of servers were learned.
    """
    slots, again, count = season.slot_of(local_ms), state.copy(), 0
    is_lacking = (season.block_of(slots) == number) & (slots > learned[rows]) & (slots < state.slot[rows])
    is_lacking &= state.phase[rows] == Phase.READY
    for slot in np.unique(slots[is_lacking]).tolist():
        here = np.flatnonzero(is_lacking & (slots == slot))
        servers = np.unique(rows[here])
        again.slot[servers] = NEVER  # what gathers now is not over
        season.turn(again, servers, np.full(len(servers), slot), step_s=step_s)
        for part in _one_a_server(here, rows):
            _gather(again, rows[part], observed_at[part], local_ms[part], values[part])
        season.turn(again, servers, np.full(len(servers), slot + 1), step_s=step_s)
        count += len(servers)
    for name, part_of_table in table.parts(state, number).items():
        part_of_table[...] = table.parts(again, number)[name]
    return count


def _one_a_server(positions: Index, rows: Index) -> list[Index]:
    """Positions cut into parts of at most one observation a server, each server's in their order."""
    by_server = positions[np.argsort(rows[positions], kind="stable")]
    own = rows[by_server]
    begins = np.flatnonzero(np.diff(own, prepend=-1))
    turn = np.arange(len(own)) - np.repeat(begins, np.diff(np.append(begins, len(own))))
    return [by_server[turn == each] for each in range(int(turn.max(initial=-1)) + 1)]


def _gather(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    local_ms: npt.NDArray[np.int64],
    values: FloatArray,
) -> None:
    opened_at, resolved_at = state.opened_at[rows], state.resolved_at[rows]
    is_open = (state.incident[rows] != policy.NONE) | (observed_at <= resolved_at)
    frozen = (opened_at != NEVER) & is_open & (observed_at >= opened_at) & (observed_at - opened_at < FROZEN_MS)
    known = np.where(frozen[:, None], np.nan, without_unknown(state, rows, values))
    value = standardize(known, state.base_mean[rows], state.base_spread[rows], limit=expectation.LARGEST)
    level = season.level_at(state, rows, local_ms)
    season.gather(state, rows, level, season.distance_from(state, rows, value.astype(np.float32), level))
