"""What a lost block of the seasonal table knew is learned again from the observations that are still stored.

They are kept for two days (`observation_ttl_s`), so this gives back the quarter hour that the newest earlier block
lacks where it was yesterday's or today's, and where no block is left the last two days on top of training.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treeline.app.detect.ports import Observations
from treeline.app.detect.retirement import receipts_of_before
from treeline.core.detection.relearn import learn_again
from treeline.core.expectation import local_time, season
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER

DAYS = 3  # an observation is kept for two days, which touch three
# Read for one commit, and then no more: an hour of 50 servers each 30 s is 6,000. What is not read stays lost.
MOST_OBSERVATIONS = 12_000

Slots = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LostBlocks:
    """Learns blocks of one group's table again."""

    observations: Observations
    group: int
    state: FleetState
    model: ModelPackage
    zones: npt.NDArray[np.object_]  # of each row of the state

    def learn_again(self, number: int, stored: Slots | None) -> str:
        """Learn what a block lacks, and say in words what that was; see `season_blocks.LearnAgain`."""
        state = self.state
        learned = self._of_training(number)
        if stored is not None:
            learned[: len(stored)] = stored
        left, count, of_retired = MOST_OBSERVATIONS, 0, receipts_of_before(state)
        for start, end in self._hours(number, learned):
            found = self.observations.read(
                self.group,
                start,
                self.model.metrics,
                skip=lambda server, _, received_at: received_at <= of_retired.get(server, ""),
                limit=left,
                until_ms=end,
            )
            left -= len(found.servers)
            if not left:
                return "nothing more was learned again: too many observations for one commit"
            index = state.rows()
            is_known = [server in index for server in found.servers]
            rows = np.array([index[server] for server in found.servers if server in index], dtype=np.intp)
            at = found.observed_at[is_known]
            local_ms = at + 1000 * local_time.offsets_s(self.zones[rows], at).astype(np.int64)
            count += learn_again(
                state, number, learned, rows, at, local_ms, found.values[is_known], step_s=self.model.step_s
            )
        return f"{count} quarter hours of servers were learned again from observations"

    def _of_training(self, number: int) -> Slots:
        """By row the newest slot of the block that the package's table knows."""
        trained = self.model.new_state()
        self.model.admit(trained, self.state.servers)
        return season.newest_in(number, trained.slot)

    def _hours(self, number: int, learned: Slots) -> Iterator[tuple[int, int]]:
        """When observations may be that the block lacks, from and to in milliseconds of UTC, the oldest first."""
        state = self.state
        newest = season.newest_in(number, state.slot)
        lacks = (newest > learned) & (newest != NEVER)
        if not lacks.any():
            return
        last_day = int(newest[lacks].max()) // season.SLOTS
        offsets = 1000 * local_time.offsets_s(self.zones, state.last_at)[lacks].astype(np.int64)
        hour = season.slots_of(number)
        for day in range(last_day - DAYS + 1, last_day + 1):
            first = day * season.SLOTS + hour.start
            if int(season.block_of(np.array([first]))[0]) == number:
                starts = first * season.SLOT_MS
                yield starts - int(offsets.max()), starts + len(hour) * season.SLOT_MS - int(offsets.min())
