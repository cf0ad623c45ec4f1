"""The canary inside detect: after the champion's tick the candidate decides the canary's servers, and pages nobody.

The candidate runs the champion's use case on the same observations, with a state and an endpoint variant of its own.
Its incident changes go to the rollups table and its scores to groups of their own, from where judge.py reads them. Its
errors are counted and never reach the champion's tick.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from treeline.app.detect.handover import Pointer
from treeline.app.detect.known_observations import JudgedObservations
from treeline.app.detect.ports import Observations, Pending, Record, Records, Scorer, Scores
from treeline.app.detect.read_spans import ReadSpans
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.detect.service import DetectService, TickOutcome
from treeline.app.detect.ticks import Tick
from treeline.app.promote.canary import Canary, Side, candidate_group
from treeline.app.promote.ports import DecidingModels
from treeline.core.alert import Alert
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import ScorerContractError, ScorerUnavailableError, StateConflictError, TreelineError
from treeline.core.model.handover import hand_over
from treeline.core.model.package import ModelPackage
from treeline.core.statistics import FloatArray


class CanaryModels(DecidingModels, Protocol):
    """The models as last read."""

    @property
    def pointer(self) -> Pointer | None:
        """The active model's pointer."""


class DecisionSink(Protocol):
    """Where a candidate's incident changes and its calls are kept."""

    def record(self, model_version: str, alert: Alert) -> None:
        """Keep one change; keeping it again changes nothing."""

    def add_calls(self, model_version: str, role: Side, calls: "Calls") -> None:
        """Add to the counts of calls of one side during this candidate's canary."""


@dataclass(slots=True)
class Calls:
    """Calls of one variant: how many, how many failed, how long the others took."""

    errors: int = 0
    durations_ms: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All of them."""
        return self.errors + len(self.durations_ms)

    @contextmanager
    def measure(self, clock_s: Callable[[], float]) -> Iterator[None]:
        """Time one call; a scorer's error is counted and raised again."""
        started = clock_s()
        try:
            yield
        except (ScorerUnavailableError, ScorerContractError):
            self.errors += 1
            raise
        self.durations_ms.append(1000.0 * (clock_s() - started))


@dataclass(slots=True)
class MeasuredScorer:
    """A scorer whose calls are counted and timed."""

    scorer: Scorer
    calls: Calls = field(default_factory=Calls)
    clock_s: Callable[[], float] = time.perf_counter

    def score(self, rows: FloatArray) -> FloatArray:
        """See `Scorer`."""
        with self.calls.measure(self.clock_s):
            return self.scorer.score(rows)

    def take(self) -> Calls:
        """The calls since the last take."""
        taken, self.calls = self.calls, Calls()
        return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRun:
    """Runs the candidate after the champion's tick."""

    champion: DetectService  # its parts serve the candidate too, but for those that must differ
    models: CanaryModels  # as the champion's tick last read them
    records: Records  # the detector-state table itself, without hand-over
    scorer_of: Callable[[Canary], Scorer]  # the candidate's
    champion_calls: Callable[[], Calls]  # the calls of the champion's scorer since this was last asked
    decisions: DecisionSink
    on_error: Callable[[Exception], None]  # told what went wrong with the candidate
    adapter_errors: tuple[type[Exception], ...] = ()  # what the adapters raise besides our own errors
    _judged: JudgedObservations = field(default_factory=JudgedObservations)

    def prepare(self, group: int) -> None:
        """Give a candidate that is new to a group its state: the champion's, as it was before this tick."""
        self.models.read()
        canary, pointer = self.models.canary, self.models.pointer
        failures: tuple[type[Exception], ...] = (TreelineError, *self.adapter_errors)
        if canary is None or pointer is None:
            return
        try:
            records = self._records(pointer, canary)
            records.load(group, canary.model_version)
        except StateConflictError:
            return  # the champion's tick comes first here
        except failures as error:
            self.on_error(error)

    def _records(self, pointer: Pointer, canary: Canary) -> "_CandidateRecords":
        champion, candidate = self.models.load(pointer.package_key), self.models.load(canary.package_key)
        return _CandidateRecords(self.records, pointer, canary, candidate, champion.calibration)

    def run(self, tick: Tick, *, until_ms: int | None = None) -> int:
        """Let the candidate decide what the champion has decided; how many observations it scored.

        Without a canary this only forgets the champion's calls. `until_ms` is the champion's: the candidate must not
        use up the time of the groups that come after.
        """
        canary, pointer = self.models.canary, self.models.pointer
        calls = self.champion_calls()
        if canary is None or pointer is None:
            return 0
        scorer = MeasuredScorer(self.scorer_of(canary))
        scored = 0
        failures: tuple[type[Exception], ...] = (TreelineError, *self.adapter_errors)
        try:
            records = self._records(pointer, canary)
            sink = _CandidateSink(self.champion.scores, self.decisions, canary.model_version)
            service = replace(
                self.champion,
                observations=_CanaryObservations(self.champion.observations, canary),
                records=records,
                scores=sink,
                incidents=sink,
                publisher=sink,
                scorer=scorer,
                retirements=lambda group: [
                    retirement for retirement in self.champion.retirements(group) if canary.covers(retirement.server_id)
                ],
                models=_OneModel(records.package),
                policy=_without_fleet_cycle(self.champion.policy),
                # What one of the two has read or found too late says nothing about the other.
                _judged=self._judged,
                _read=ReadSpans(),
            )
            scored = service.run(tick, until_ms=until_ms).scored
        except failures as error:  # a lost race too: the next tick has it
            self.on_error(error)
        try:
            self.decisions.add_calls(canary.model_version, Side.CHAMPION, calls)
            self.decisions.add_calls(canary.model_version, Side.CANDIDATE, scorer.take())
        except self.adapter_errors as error:
            self.on_error(error)
        return scored


@dataclass(frozen=True, slots=True)
class WatchedDetect:
    """The champion's tick, then the candidate's; what comes back is the champion's outcome."""

    champion: DetectService
    canary: CandidateRun

    def has_read(self, group: int, *, asked_ms: int, since_ms: int) -> bool:
        """See `DetectService.has_read`."""
        return self.champion.has_read(group, asked_ms=asked_ms, since_ms=since_ms)

    def run(self, tick: Tick, outcome: TickOutcome | None = None, *, until_ms: int | None = None) -> TickOutcome:
        """See `DetectService.run`."""
        self.canary.prepare(tick.group)
        outcome = self.champion.run(tick, outcome, until_ms=until_ms)
        self.canary.run(tick, until_ms=until_ms)
        return outcome


def _without_fleet_cycle(policy: PolicySettings) -> PolicySettings:
    """The candidate sees too few servers to estimate what a group shares; it gets the champion's fleet cycle.

    Where there is one, no observation of the candidate's opens alone either, as none of the champion's does.
    """
    is_shared = policy.fleet_min_servers > 0
    return replace(policy, fleet_min_servers=0, alone_severity=0.0 if is_shared else policy.alone_severity)


@dataclass(frozen=True, slots=True)
class _OneModel:
    package: ModelPackage

    def active(self) -> ModelPackage:
        return self.package


@dataclass(frozen=True, slots=True)
class _CanaryObservations:
    observations: Observations
    canary: Canary

    def read(
        self,
        group: int,
        start_ms: int,
        metrics: Sequence[str],
        *,
        skip: Callable[[str, int, str], bool],
        limit: int,
        until_ms: int | None = None,
    ) -> Pending:
        return self.observations.read(
            group,
            start_ms,
            metrics,
            skip=lambda server, at, received: not self.canary.covers(server) or skip(server, at, received),
            limit=limit,
            until_ms=until_ms,
        )


@dataclass(frozen=True, slots=True)
class _CandidateRecords:
    """The candidate's state of a group's canary servers: begun from the champion's, and with its fleet cycle."""

    records: Records
    pointer: Pointer
    canary: Canary
    package: ModelPackage
    calibration: Calibration  # the champion's

    def load(self, group: int, model_version: str) -> Record | None:
        champion = self.records.load(group, self.pointer.model_version)
        record = self.records.load(group, model_version)
        if record is not None and record.state.activation > self.pointer.activation:
            raise StateConflictError(f"model {model_version} has become the active one")
        if champion is None or champion.state.activation > self.pointer.activation:
            raise StateConflictError(f"group {group} is being taken over")
        if record is None or record.state.activation != -self.canary.number:
            servers = [s for s in champion.state.servers if self.canary.covers(s)]
            state = hand_over(self.package, champion.state, calibration=self.calibration, servers=servers)
            before = 0 if record is None else record.state.version
            state.version, state.activation = before + 1, -self.canary.number
            record = Record(group, model_version, state)
            # Commit now: a state seeded at every tick would always be up to date with the champion and decide nothing.
            self.records.commit(record, before)
        record.state.cycle = replace(champion.state.cycle)
        return record

    def commit(self, record: Record, previous_version: int) -> None:
        self.records.commit(record, previous_version)

    def clear_outbox(self, record: Record) -> None:
        self.records.clear_outbox(record)


@dataclass(frozen=True, slots=True)
class _CandidateSink:
    """Stores the candidate's blocks and incident changes apart; nothing of them is published."""

    scores: Scores
    decisions: DecisionSink
    model_version: str

    def put(self, group: int, block: ScoreBlock, now_ms: int) -> None:
        self.scores.put(candidate_group(group), block, now_ms)

    def entries(self, group: int, first_ms: int, last_ms: int) -> set[tuple[str, int]]:
        return self.scores.entries(candidate_group(group), first_ms, last_ms)

    def apply(self, alert: Alert) -> bool:
        self.decisions.record(self.model_version, alert)
        return False

    def publish(self, alert: Alert) -> None:
        raise AssertionError("a candidate's decision is never published")
