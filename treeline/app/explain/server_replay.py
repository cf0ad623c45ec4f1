"""Decides one server's observations again, with the detector's own functions and the forest that decided them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from treeline.app.detect.origin import Origin
from treeline.app.detect.override import Override
from treeline.app.detect.rules import Rules
from treeline.app.explain.incident_source import Score
from treeline.core.alert import AlertEvent, Priority
from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibrated
from treeline.core.detection.detector import Decided, PreparedRound, Round
from treeline.core.detection.evidence import Bands
from treeline.core.detection.policy import Change
from treeline.core.expectation import local_time
from treeline.core.limits import MetricLimits
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetCycle, FleetState
from treeline.core.statistics import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One observation decided again."""

    at: int  # its time, ms
    features: npt.NDArray[np.float32]  # the row that is scored; empty while the server warms up
    score: float = float("nan")
    severity: float = float("nan")  # with what the group shares taken off
    calibrated: Calibrated | None = None  # None while the server warms up
    bands: Bands | None = None  # what the metrics were held against, shape (metrics,); None while the server warms up
    is_evident: bool = True  # whether a metric lies outside what people are shown; else it opens nothing
    is_agreeing: bool = False  # whether several lie so far outside that one observation may open
    peaks: FloatArray | None = None  # of the server's earlier hours, by channel; None while the server warms up
    changes: list[Change] = field(default_factory=list)

    def shared(self, severity: float) -> float:
        """What the group's level took off an observation whose stored severity is this; 0 where nothing is known."""
        if self.calibrated is None or not severity > 0:
            return 0.0
        return max(float(self.calibrated.severity[0]) - severity, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What each of k versions of some observations does."""

    opens_at: npt.NDArray[np.intp]  # which observation opens an incident first, shape (k,); -1 for none
    is_p1: npt.NDArray[np.bool_]  # whether that incident opens as P1 or rises to it, shape (k,)
    severity: FloatArray  # shape (k, observations)

    @property
    def opens(self) -> npt.NDArray[np.bool_]:
        """Whether any of the observations opens an incident, shape (k,)."""
        return self.opens_at >= 0


class ServerReplay:
    """Decides observations of one server, from an origin on, whose state is not changed.

    `score` is the forest's; `overrides` has the one that decided an observation, by its time, and
    `commons` what the server's peers had in common then.
    """

    def __init__(
        self,
        origin: Origin,
        package: ModelPackage,
        score: Score,
        overrides: Mapping[int, Override],
        commons: Mapping[int, npt.NDArray[np.float16]],
    ) -> None:
        self.state = origin.state.copy()
        package.attach(self.state)
        self._origin = origin
        self._package = package
        self._score = package.scoring(score)
        self._overrides = overrides
        self._commons = commons
        declared = {metric.name: metric for metric in origin.declared}
        self._limits = MetricLimits.by_name(package.metrics, declared)

    @property
    def server_id(self) -> str:
        """Whose observations are decided."""
        return self._origin.server_id

    @property
    def step_ms(self) -> int:
        """The width of a bucket, which is the least time between two observations that count."""
        return self._package.step_ms

    def rules(self, at: int) -> Rules:
        """By what the observation of that time (ms) was decided."""
        return Rules.of(self._package, self._origin.policy, self._overrides.get(at))

    def step(self, at: int, values: npt.NDArray[np.float32], *, given_score: float | None = None) -> Replayed:
        """Decide the next observation; `given_score` stands in for the forest's."""
        state = self.state
        done = self._prepare(state, at, values[None])
        if not len(done.ready):
            return Replayed(at=at, features=np.empty(0, np.float32))
        rows = done.features.rows
        scores = self._score(rows) if given_score is None else np.array([given_score])
        decided = self._decide(state, done, scores)
        return Replayed(
            at=at,
            features=rows[0],
            score=float(scores[0]),
            severity=float(decided.severity[0]),
            calibrated=decided.calibrated,
            bands=Bands.of(state, done.round.rows[done.ready], done.features).at(0),
            is_evident=bool(done.features.outside[0].any()),
            is_agreeing=bool(done.features.agreeing[0]),
            peaks=state.peak[0].copy(),
            changes=list(decided.changes),
        )

    def outcomes(self, times: Sequence[int], candidates: npt.NDArray[np.float32]) -> Outcomes:
        """What each of some versions of the next observations would do, the state being left as it is.

        Args:
            times: Of the observations, ms.
            candidates: Shape (k, times, metrics).
        """
        versions = [str(i) for i in range(len(candidates))]
        state = FleetState(self.state.metrics, servers=versions, layout=self.state.layout)
        own = self.state.row_values(0)
        for row in range(len(candidates)):
            state.set_row(row, own)
        opens_at = np.full(len(candidates), -1, dtype=np.intp)
        is_p1 = np.zeros(len(candidates), dtype=bool)
        severity: FloatArray = np.zeros((len(candidates), len(times)))
        for i, at in enumerate(times):
            done = self._prepare(state, at, candidates[:, i])
            decided = self._decide(state, done, self._score(done.features.rows))
            for change in decided.changes:
                if change.event is AlertEvent.OPENED and opens_at[change.row] < 0:
                    opens_at[change.row] = i
                is_p1[change.row] |= change.priority is Priority.P1
            severity[:, i] = decided.severity
        return Outcomes(opens_at=opens_at, is_p1=is_p1, severity=severity)

    def _prepare(self, state: FleetState, at: int, values: npt.NDArray[np.float32]) -> PreparedRound:
        rows = np.arange(len(values), dtype=np.intp)
        bucket = at // self._package.step_ms
        batch = Round(bucket, rows, rows, np.full(len(values), at, dtype=np.int64), values)
        state.utc_offset_s[rows] = local_time.offsets_s(np.full(len(rows), self._origin.zone), batch.observed_at)
        # The shared level is the one that was taken off then: these rows are not a group of their own.
        level, excess = (shared.get(bucket, 0.0) for shared in (self._origin.levels, self._origin.score_excesses))
        state.cycle = FleetCycle(bucket=bucket, level=level, score_excess=excess)
        nothing = np.zeros(len(self._package.metrics), dtype=np.float16)
        common = np.tile(self._commons.get(at, nothing).astype(np.float32), (len(values), 1))
        return detector.prepare(state, batch, step_s=self._package.step_s, limits=self._limits, common=common)

    def _decide(self, state: FleetState, done: PreparedRound, scores: FloatArray) -> Decided:
        rules = self.rules(int(done.round.observed_at[0]))
        return detector.decide(state, done, scores, rules.calibration, rules.policy, step_ms=self.step_ms)
