"""Treeline's detector in a program of one's own: a model package, its forest, and observations as they come.

Needs numpy and nothing else: no cloud, no clock, no files but the two that training leaves. Decisions are those that
the deployed functions would take, by the same code.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from treeline.app.detect.scoreblock import Status as Status
from treeline.core.alert import FLEET, MetricEvidence
from treeline.core.detection import detector
from treeline.core.detection.detector import Decided, PreparedRound
from treeline.core.detection.evidence import Bands, metric_evidence
from treeline.core.detection.features import Index
from treeline.core.detection.policy import FLEET_ROW, Change
from treeline.core.detection.policy import PolicySettings as PolicySettings
from treeline.core.errors import MalformedRecordError, ModelMismatchError
from treeline.core.limits import MetricLimits
from treeline.core.model.package import ModelPackage
from treeline.core.observation import Observation as Observation
from treeline.core.profile import DEFAULT_METRICS
from treeline.core.profile import Metric as Metric
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray
from treeline.forest.storage import read_model_tar


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one observation, with the evidence; or, with server_id "fleet", a change of the shared incident.

    Attributes:
        server_id: The observation's.
        observed_at_ms: The observation's time, milliseconds since the epoch.
        status: SCORED; WARMING_UP while the server has no baseline; LATE where a later observation of the server had
            been decided before: it is scored and changes nothing.
        severity: On the fixed scale, what the fleet has in common taken off: P2 from 1.5 on, P1 above 3.0. NaN unless
            scored.
        score: The forest's, unbounded; only to be compared with `threshold`. NaN while warming up.
        threshold: The score that would have meant severity 1.5 by itself. NaN unless scored.
        channel: What gave the severity: "score", or a channel over the metrics' own deviations. Empty unless scored.
        metrics: Measured, expected and implied value, bands and deviation of each metric, those outside a band first.
            Empty while warming up.
        change: What it did to the server's incident: opened, escalated, deescalated or resolved it. Mostly None. Its
            `row` means nothing outside the detector.
    """

    server_id: str
    observed_at_ms: int
    status: Status
    severity: float = math.nan
    score: float = math.nan
    threshold: float = math.nan
    channel: str = ""
    metrics: list[MetricEvidence] = field(default_factory=list)
    change: Change | None = None


class Detector:
    """Decides observations of up to some hundred servers, which share one fleet cycle as a deployed group does.

    Args:
        package: Baselines and calibration.
        score: Its forest: rows of shape (n, 2 * metrics) to n scores.
        policy: When exceedances become an incident.
        metrics: As the deployment declares them: units, and limits that no band passes. One that is not declared has
            neither.
        state: What `save_state` gave, to go on from there; None begins where training ended.

    Raises:
        ModelMismatchError: The state belongs to a model of other metrics.
    """

    def __init__(
        self,
        package: ModelPackage,
        score: Callable[[npt.NDArray[np.float32]], FloatArray],
        *,
        policy: PolicySettings | None = None,
        metrics: Sequence[Metric] = DEFAULT_METRICS,
        state: bytes | None = None,
    ) -> None:
        self.package = package
        self.policy = policy or PolicySettings()
        self._score = package.scoring(score)
        self._declared = {metric.name: metric for metric in metrics}
        self._limits = MetricLimits.by_name(package.metrics, self._declared)
        self._columns = {name: column for column, name in enumerate(package.metrics)}
        self._state = package.new_state() if state is None else FleetState.unpack(state)
        if self._state.metrics != len(package.metrics):
            raise ModelMismatchError(
                f"the state is of {self._state.metrics} metrics, model {package.model_version} has {package.metrics}"
            )

    @classmethod
    def load(
        cls,
        package: str | PathLike[str],
        model: str | PathLike[str],
        *,
        policy: PolicySettings | None = None,
        metrics: Sequence[Metric] = DEFAULT_METRICS,
        state: bytes | None = None,
    ) -> Self:
        """A detector from the two files that training leaves.

        Args:
            package: `package.zip`.
            model: The forest, `model.tar.gz`.
            policy, metrics, state: See `Detector`.

        Raises:
            ModelMismatchError: A file is damaged, or of a format that this version does not read.
            OSError: A file cannot be read.
        """
        forest = read_model_tar(Path(model).read_bytes())
        read = ModelPackage.from_bytes(Path(package).read_bytes())
        return cls(read, forest.score, policy=policy, metrics=metrics, state=state)

    def observe(self, observations: Iterable[Observation]) -> list[Decision]:
        """Decide observations, in order of their time whatever their order here.

        A fleet's severities of one step tell what its servers share in the next. So what one call gets, or the order of
        the calls, should follow time across servers; within one server anything earlier than what was decided is late.

        Args:
            observations: Any number. A metric that is missing or NaN is imputed. A server that the package does not
                know warms up first.

        Returns:
            One decision an observation, in order of time, and one for each change of the fleet's incident before those
            of its step. What had been decided before, or is older than the times that the state remembers, has none.

        Raises:
            MalformedRecordError: An observation names an unknown metric, or a value is infinite; none was decided.
        """
        given = list({(o.server_id, o.observed_at_ms): o for o in observations}.values())
        values = self._values(given)
        rows, at = self._rows(given), np.array([o.observed_at_ms for o in given], dtype=np.int64)
        new, late = detector.split_late(self._state, rows, at)
        decisions = self._late(rows[late], at[late], values[late])
        step = self.package
        for batch in detector.rounds(rows[new], at[new], values[new], step_ms=step.step_ms):
            prepared = detector.prepare(self._state, batch, step_s=step.step_s, limits=self._limits)
            scores = self._score(prepared.features.rows)
            decided = detector.decide(
                self._state, prepared, scores, step.calibration, self.policy, step_ms=step.step_ms
            )
            decisions += self._decided(prepared, scores, decided)
        return sorted(decisions, key=lambda decision: decision.observed_at_ms)

    def save_state(self) -> bytes:
        """What the detector knows beyond its package, open incidents included; goes with that package only."""
        return self._state.pack()

    def _values(self, observations: list[Observation]) -> npt.NDArray[np.float32]:
        values = np.full((len(observations), len(self._columns)), np.nan, dtype=np.float32)
        for row, observation in enumerate(observations):
            for name, value in observation.metrics.items():
                if name not in self._columns:
                    known = ", ".join(self._columns)
                    raise MalformedRecordError(f"{observation.server_id}: no metric {name!r} in the model: {known}")
                if math.isinf(value):
                    raise MalformedRecordError(f"{observation.server_id}: {name} is {value}")
                values[row, self._columns[name]] = value
        return values

    def _rows(self, observations: list[Observation]) -> Index:
        known = self._state.rows()
        self.package.admit(
            self._state, list(dict.fromkeys(o.server_id for o in observations if o.server_id not in known))
        )
        known = self._state.rows()
        return np.array([known[o.server_id] for o in observations], dtype=np.intp)

    def _late(self, rows: Index, at: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> list[Decision]:
        ready, features = detector.compare_late(
            self._state, rows, at, values, step_s=self.package.step_s, limits=self._limits
        )
        detector.mark_seen(self._state, rows, at)
        scores = self._score(features.rows)
        bands = Bands.of(self._state, rows[ready], features)
        compared = {position: i for i, position in enumerate(ready.tolist())}
        return [
            Decision(
                server_id=self._state.servers[row],
                observed_at_ms=int(at[position]),
                status=Status.LATE,
                score=float(scores[compared[position]]) if position in compared else math.nan,
                metrics=self._evidence(values[position], bands.at(compared[position])) if position in compared else [],
            )
            for position, row in enumerate(rows.tolist())
        ]

    def _decided(self, prepared: PreparedRound, scores: FloatArray, decided: Decided) -> Iterable[Decision]:
        batch, servers = prepared.round, self._state.servers
        own = {change.row: change for change in decided.changes}
        if (shared := own.get(FLEET_ROW)) is not None:
            yield Decision(
                server_id=FLEET, observed_at_ms=shared.at, status=Status.SCORED, severity=shared.severity, change=shared
            )
        compared = {position: i for i, position in enumerate(prepared.ready.tolist())}
        bands = Bands.of(self._state, batch.rows[prepared.ready], prepared.features)
        for position, row in enumerate(batch.rows.tolist()):
            at = int(batch.observed_at[position])
            if (i := compared.get(position)) is None:
                yield Decision(server_id=servers[row], observed_at_ms=at, status=Status.WARMING_UP)
                continue
            yield Decision(
                server_id=servers[row],
                observed_at_ms=at,
                status=Status.SCORED,
                severity=float(decided.severity[i]),
                score=float(scores[i]),
                threshold=float(decided.calibrated.threshold[i]),
                channel=decided.calibrated.deciding(i).name,
                metrics=self._evidence(batch.values[position], bands.at(i)),
                change=own.get(row),
            )

    def _evidence(self, measured: FloatArray, bands: Bands) -> list[MetricEvidence]:
        return metric_evidence(self.package.metrics, measured, bands, self._declared)
