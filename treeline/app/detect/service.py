"""The detect use case: read a group's new observations, score them, decide, commit, then publish alerts.

One conditional write commits the new state, the score block and the alerts that are still to be published (the outbox).
What follows the commit, writing the block to the scores table, incident rows and publishing, may be repeated: the next
tick finishes what a crash left undone. So a crash at any point loses nothing, and nothing is decided twice.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from treeline.app.alert.muting import Muting
from treeline.app.alert.writer import AlertWriter
from treeline.app.detect import outbox
from treeline.app.detect.deciding import Decider
from treeline.app.detect.known_observations import JudgedObservations, KnownObservations
from treeline.app.detect.lost_blocks import LostBlocks
from treeline.app.detect.override import Override
from treeline.app.detect.ports import (
    ActivePackage,
    Incidents,
    Observations,
    Pending,
    Publisher,
    Record,
    Records,
    Scorer,
    Scores,
)
from treeline.app.detect.read_spans import ReadSpans
from treeline.app.detect.retirement import Retirement, retire
from treeline.app.detect.scoreblock import ScoreBlock, Status, row_bytes
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.app.detect.ticks import Tick
from treeline.app.detect.zones import ServerZones
from treeline.core.alert import Alert
from treeline.core.arrays import Home
from treeline.core.detection import detector
from treeline.core.detection.features import Index
from treeline.core.detection.policy import PolicySettings
from treeline.core.detection.watermark import decidable
from treeline.core.errors import StateConflictError
from treeline.core.expectation import local_time, season
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER

MAX_OBSERVATIONS_PER_COMMIT = 800
MAX_BLOCK_BYTES = 46_000  # of a commit's score block: with a whole state of 38 metrics its item stays below 400 KB
MAX_OBSERVATIONS_READ = 16_000  # where none of those read may be decided yet
MAX_CONFLICTS = 3


def most_observations(metrics: int) -> int:
    """How many observations of so many metrics one commit may decide."""
    return min(MAX_OBSERVATIONS_PER_COMMIT, MAX_BLOCK_BYTES // row_bytes(2 * metrics, metrics))


@dataclass(slots=True)
class TickOutcome:
    """What a tick did, in numbers."""

    scored: int = 0
    warming_up: int = 0
    late: int = 0
    too_late: list[tuple[str, int]] = field(default_factory=list)  # server and time of what came too late to score
    commits: int = 0
    conflicts: int = 0
    waiting: int = 0
    imputed: int = 0
    held_back: int = 0  # observations that novelty kept from a tier
    published: list[Alert] = field(default_factory=list)
    suppressed: list[Alert] = field(default_factory=list)  # stored, not published: muted, or a shadow stage
    unpublished: int = 0
    lost_blocks: list[str] = field(default_factory=list)  # of the seasonal table, with what was wrong
    has_model: bool = True
    oldest_received_ms: int | None = None
    silent_servers: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)  # servers that were taken out
    returned: list[str] = field(default_factory=list)  # retired servers of whose name something has come again
    warming_servers: int = 0
    servers: int = 0
    max_severity: float = 0.0
    severities: list[float] = field(default_factory=list)
    cycle_level: float = 0.0  # what the group's servers do together: their median severity


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectService:
    """Everything `detect` needs, wired by the handler."""

    observations: Observations
    records: Records
    tables: SeasonBlocks
    scores: Scores
    incidents: Incidents
    publisher: Publisher
    scorer: Scorer
    models: ActivePackage
    alerts: AlertWriter
    policy: PolicySettings
    clock_ms: Callable[[], int]
    late_window_ms: int
    wait_ms: int
    silent_after_ms: int
    sleep: Callable[[float], None] = time.sleep
    muting: Muting = field(default_factory=Muting)
    zones: ServerZones = field(default_factory=ServerZones)
    retirements: Callable[[int], Sequence[Retirement]] = lambda group: ()  # those ever asked for of a group's servers
    override: Callable[[], Override | None] = lambda: None  # as it came with the last read of the active model
    # By group and model the version whose block was written, so that not every tick writes it again.
    _block_written: dict[tuple[int, str], int] = field(default_factory=dict)
    _judged: JudgedObservations = field(default_factory=JudgedObservations)
    _read: ReadSpans = field(default_factory=ReadSpans)

    @property
    def _decider(self) -> Decider:
        return Decider(
            scorer=self.scorer,
            alerts=self.alerts,
            policy=self.policy,
            override=self.override(),
            clock_ms=self.clock_ms,
            tables=self.tables,
        )

    def has_read(self, group: int, *, asked_ms: int, since_ms: int) -> bool:
        """Whether this worker has already decided what was asked for at that time, from `since_ms` on."""
        return self._read.cover(group, asked_ms=asked_ms, since_ms=since_ms)

    def run(self, tick: Tick, outcome: TickOutcome | None = None, *, until_ms: int | None = None) -> TickOutcome:
        """Score and decide everything the group has waiting.

        Args:
            tick: Which group.
            outcome: Filled during the work, so that it is right also where an error ends the run.
            until_ms: From then on, what is still waiting is left to the next tick, at the latest the heartbeat's.

        Raises:
            ScorerUnavailableError: The endpoint cannot answer; nothing of the unfinished part was committed.
            ScorerContractError: The endpoint's answer is not usable.
            StateConflictError: Others kept winning the race for this group; the tick is worth repeating.
        """
        outcome = outcome or TickOutcome()
        model = self.models.active()
        if model is None:
            outcome.has_model = False
            return outcome
        began_ms, began_from = self.clock_ms(), None
        retirements = self.retirements(tick.group) if tick.is_sweep else ()
        while True:
            record = self._load(tick.group, model)
            if began_from is None:
                began_from = self._start(record.state, tick, model.step_ms)
            try:
                self._settle(record, outcome)
                record = self._retire(record, model, retirements, outcome)
                rest = self._advance(record, model, tick, outcome, began_from)
            except StateConflictError:
                if outcome.conflicts == MAX_CONFLICTS:
                    raise
                outcome.conflicts += 1
                continue
            if rest is None:
                self._read.add(tick.group, read_ms=began_ms, start_ms=began_from)
            elif until_ms is None or self.clock_ms() < until_ms or not self._goes_on_by_itself(record.state, rest):
                tick = rest
                continue
            self._note_servers(record.state, outcome)
            return outcome

    def _goes_on_by_itself(self, state: FleetState, tick: Tick) -> bool:
        """Whether every later tick reads from here on, also one that names no start."""
        return tick.since_ms is None or tick.since_ms >= self._start(state, Tick(tick.group), 0)

    def _load(self, group: int, model: ModelPackage) -> Record:
        """The group's record; gives the worker that committed it the time to publish its alerts."""
        blank = Record(group, model.model_version, model.new_state())
        record = outbox.load_published(
            lambda: self.records.load(group, model.model_version) or blank, clock_ms=self.clock_ms, sleep=self.sleep
        )
        model.attach(record.state, Home.PACKAGE, Home.TABLE)
        return record

    def _settle(self, record: Record, outcome: TickOutcome) -> None:
        """Finish what the last commit left to do: write its score block, publish its alerts."""
        key = (record.group, record.model_version)
        if record.block is not None and self._block_written.get(key) != record.state.version:
            self.scores.put(record.group, record.block, self.clock_ms())
            self._block_written[key] = record.state.version
        outcome.unpublished = 0
        if not record.outbox:
            return
        published, remaining = outbox.tell(
            record.outbox, incidents=self.incidents, publisher=self.publisher, clock_ms=self.clock_ms
        )
        outcome.published.extend(published)
        outcome.unpublished = len(remaining)
        if len(remaining) < len(record.outbox):
            record.outbox = remaining
            self.records.clear_outbox(record)

    def _retire(
        self, record: Record, model: ModelPackage, retirements: Sequence[Retirement], outcome: TickOutcome
    ) -> Record:
        """Commit what retirements change, where they change anything; the record as it then is."""
        state, now_ms = record.state, self.clock_ms()
        previous, event_ms = state.version, int(state.last_at.max(initial=NEVER))
        retired, ended = retire(state, model, retirements, alerts=self.alerts, now_ms=now_ms)
        if not retired:
            return record
        state.version = previous + 1
        alerts = self.muting.apply(ended, record.suppressed, event_ms=event_ms, next_step=state.next_step)
        committed = replace(record, block=None, outbox=record.outbox + alerts, committed_ms=now_ms)
        self.records.commit(committed, previous)
        outcome.commits += 1
        outcome.retired.extend(retired)
        outcome.suppressed.extend(alert for alert in alerts if alert.suppressed)
        self._settle(committed, outcome)
        return committed

    def _advance(
        self, record: Record, model: ModelPackage, tick: Tick, outcome: TickOutcome, began_from: int
    ) -> Tick | None:
        """One commit's worth of work; the tick for what may be left, None where nothing is."""
        state = record.state
        previous = state.version
        pending, known, rows, new, late = self._due(record, model, tick, outcome, began_from)
        if self._account_too_late(record, known, outcome):
            return tick
        if not len(new) and not len(late):
            return None
        zones = self.zones.of(state.servers).of(state.servers)
        offset_s = local_time.offsets_s(zones[rows[new]], pending.observed_at[new])
        slots = season.slot_of(pending.observed_at[new] + 1000 * offset_s.astype(np.int64))
        turned = season.blocks_turned(state, rows[new], slots)
        lost = LostBlocks(observations=self.observations, group=record.group, state=state, model=model, zones=zones)
        outcome.lost_blocks += self.tables.fill(
            record.group, record.model_version, state, turned, learn_again=lost.learn_again
        )
        was_retired = state.is_retired
        decision = self._decider.decide(record.group, state, model, pending, rows, new, late, zones)
        block = decision.block
        state.version = previous + 1
        block.version = state.version
        alerts = self.muting.apply(
            decision.alerts,
            record.suppressed,
            event_ms=int(pending.observed_at[np.concatenate([new, late])].max()),
            next_step=state.next_step,
        )
        committed = Record(
            record.group, record.model_version, state, block, record.outbox + alerts, self.clock_ms(), record.suppressed
        )
        self.tables.write(record.group, record.model_version, state)
        self.records.commit(committed, previous)
        outcome.commits += 1
        outcome.returned += [state.servers[row] for row in np.flatnonzero(was_retired & ~state.is_retired)]
        outcome.scored += int((block.status == Status.SCORED).sum())
        outcome.warming_up += int((block.status == Status.WARMING_UP).sum())
        outcome.late += int((block.status == Status.LATE).sum())
        outcome.imputed += decision.imputed
        outcome.held_back += decision.held_back
        outcome.suppressed.extend(alert for alert in alerts if alert.suppressed)
        decided = block.severity[block.status == Status.SCORED]
        outcome.max_severity = max(outcome.max_severity, float(decided.max(initial=0.0)))
        outcome.severities.extend(decided.tolist())
        received = int(pending.received_at[np.concatenate([new, late])].min())
        outcome.oldest_received_ms = min(received, outcome.oldest_received_ms or received)
        self._settle(committed, outcome)
        if len(pending.servers) < most_observations(len(model.metrics)):
            return None
        return self._rest(tick, pending, np.concatenate([new, late]))

    def _rest(self, tick: Tick, pending: Pending, decided: Index) -> Tick:
        """The same tick, from the first observation left: each commit of a backlog need not read it from its beginning.

        The late window before is read once more, because only later observations show that one came too late.
        """
        if tick.since_ms is None:
            return tick
        left = np.delete(pending.observed_at, decided)
        reached = int(left.min()) if len(left) else int(pending.observed_at[-1])
        return replace(tick, since_ms=max(tick.since_ms, reached - self.late_window_ms))

    def _due(
        self, record: Record, model: ModelPackage, tick: Tick, outcome: TickOutcome, began_from: int
    ) -> tuple[Pending, KnownObservations, Index, Index, Index]:
        """What one commit may decide: the observations read, which are known, their rows, positions of new and late.

        Where a server is missing, all that was read may be waiting for it although its next observation is already in
        the table: then more is read.
        """
        state = record.state
        most = limit = most_observations(len(model.metrics))
        start = self._start(state, tick, model.step_ms)
        while True:
            known = KnownObservations(state, model)
            pending = self.observations.read(record.group, start, model.metrics, skip=known.has, limit=limit)
            rows = self._admit(state, model, pending.servers)
            new, late = detector.split_late(state, rows, pending.observed_at)
            may = decidable(
                rows[new],
                pending.observed_at[new],
                pending.received_at[new],
                state.last_at,
                step_ms=model.step_ms,
                now_ms=self.clock_ms(),
                wait_ms=self.wait_ms,
                last_received_at=state.last_received_at,
            )
            if tick.since_ms is None:
                in_part = self._is_read_in_part(
                    rows[new], pending.received_at[new], state.last_at + model.step_ms, start
                )
                if in_part.any() and began_from < start:  # read again from where this run began
                    start = began_from
                    continue
                may &= ~in_part
            if may.any() or len(late) or len(pending.servers) < limit or limit >= MAX_OBSERVATIONS_READ:
                break
            limit *= 4
        outcome.waiting = int((~may).sum())
        new = new[may][:most]
        return pending, known, rows, new, late[: most - len(new)]

    def _is_read_in_part(
        self, rows: Index, received_at: npt.NDArray[np.int64], next_at: npt.NDArray[np.int64], start: int
    ) -> npt.NDArray[np.bool_]:
        """Which observations have to wait, because earlier ones of their server may lie before `start`, unread.

        That is so for a server that is new or was away. If its later observations were decided now, the earlier ones
        would come late or be lost. They wait for the tick that ingest sends when the whole batch is written, but no
        longer than for a silent server, as that tick may have been lost.
        """
        first = np.full(len(next_at), np.iinfo(np.int64).max, dtype=np.int64)
        np.minimum.at(first, rows, received_at)
        in_part: npt.NDArray[np.bool_] = (start > np.maximum(next_at, 0)) & (first > self.clock_ms() - self.wait_ms)
        return in_part[rows]

    def _account_too_late(self, record: Record, known: KnownObservations, outcome: TickOutcome) -> bool:
        """Commit the times of what came too late to be scored, so that each is counted once; whether there was any."""
        unsure = self._judged.unknown(record.group, known.out_of_turn)[:MAX_OBSERVATIONS_PER_COMMIT]
        if not unsure:
            return False
        times = [observed_at for _, observed_at in unsure]
        decided = self.scores.entries(record.group, min(times), max(times))
        too_late = [key for key in unsure if key not in decided]
        self._judged.add(record.group, set(unsure) - set(too_late))
        if not too_late:
            return len(unsure) == MAX_OBSERVATIONS_PER_COMMIT
        state = record.state
        previous, rows = state.version, state.rows()
        block = ScoreBlock.too_late(too_late, record.model_version)
        np.add.at(state.observations, [rows[server] for server, _ in too_late], 1)
        state.version = block.version = previous + 1
        committed = replace(record, block=block, committed_ms=self.clock_ms())
        self.records.commit(committed, previous)
        outcome.commits += 1
        outcome.too_late.extend(too_late)
        self._judged.add(record.group, too_late)
        self._settle(committed, outcome)
        return True

    def _start(self, state: FleetState, tick: Tick, step_ms: int) -> int:
        """Where reading starts: before the slowest active server's last observation, or earlier if the tick says so.

        A sweep starts the late window before it, a tick of ingest one step before it: that finds all that is new to the
        active servers, and the tick itself names the oldest observation that came. Reads are paid by the byte.
        """
        last = state.last_at[state.last_at != NEVER]
        if not len(last):
            # Not `since_ms`: a group's first ticks come in any order. Where all servers are retired, nothing of before
            # is wanted, and what comes again has a tick that names it.
            start = max(int(state.retired_at.max(initial=NEVER)) - self.late_window_ms, 0)
            return start if tick.since_ms is None or not start else min(start, tick.since_ms)
        active = last[last > last.max() - max(self.late_window_ms, 3_600_000)]
        start = int(active.min()) - (self.late_window_ms if tick.is_sweep else step_ms)
        return start if tick.since_ms is None else min(start, tick.since_ms)

    def _admit(self, state: FleetState, model: ModelPackage, servers: list[str]) -> Index:
        index = state.rows()
        unknown = list(dict.fromkeys(server for server in servers if server not in index))
        model.admit(state, unknown)
        index = state.rows()
        return np.fromiter((index[server] for server in servers), dtype=np.intp, count=len(servers))

    def _note_servers(self, state: FleetState, outcome: TickOutcome) -> None:
        """Count servers that warm up, and name those of which nothing was received for too long."""
        is_retired = state.is_retired
        outcome.servers = int((~is_retired).sum())
        outcome.cycle_level = state.cycle.level
        outcome.warming_servers = int(((state.phase == 0) & ~is_retired).sum())
        seen = state.last_received_at
        silent = (seen != NEVER) & (seen < self.clock_ms() - self.silent_after_ms)
        outcome.silent_servers = [state.servers[i] for i in np.flatnonzero(silent)]
