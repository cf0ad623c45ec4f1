"""Why a server did *not* page at a time: what was measured, how far each channel was from paging, which rule held."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.app.detect.origin import Origin, of_server
from treeline.app.detect.override import Override
from treeline.app.detect.scoreblock import Status
from treeline.app.explain.incident_source import IncidentSource, ScoredPath, overrides_of
from treeline.app.explain.rarity import HeldBack
from treeline.app.explain.server_replay import Replayed, ServerReplay
from treeline.app.explain.service import AFTER_MS, BEFORE_MS, Explanation, explain, trained_until
from treeline.app.explain.wanting import OutOfReach, Wanting, wanting
from treeline.core.alert import AlertEvent, MetricEvidence
from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.evidence import metric_evidence
from treeline.core.detection.policy import NONE, PolicySettings
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError, UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.profile import DEFAULT_METRICS
from treeline.core.severity import P2_SEVERITY
from treeline.core.state.fleet import FleetState
from treeline.core.times import DEFAULT_ZONE, iso, parse_iso

NEAR_STEPS = 3  # an observation farther than that from the asked time is not the one that was meant


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReading:
    """How one channel measured an observation, in its own standard deviations."""

    name: str
    meaning: str
    measure: float
    p2: float  # the measure that means severity 1.5
    p1: float  # and 3.0
    rarity: float | None  # of the measure in the fleet's past, as -log10 of pages a server-week; None: not known
    is_gated: bool  # switched off on this server, which exceeds it too often to be told anything by it


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietMoment:
    """A server's observation that opened nothing, explained; what can no longer be known is empty, `notes` say why."""

    server_id: str
    observed_at: int  # of the observation, ms
    model_version: str
    status: Status
    score: float  # NaN where it was not scored
    severity: float  # what the group shares taken off; NaN likewise
    shared: float  # what that was, 0 for nothing
    why: Sequence[str]  # each rule that was not met
    policy: PolicySettings
    last: Sequence[tuple[int, float]]  # the observations that persistence counts: time in ms, severity
    path: ScoredPath
    held: HeldBack | None = None  # what novelty kept from a tier
    channels: Sequence[ChannelReading] = ()
    metrics: Sequence[MetricEvidence] = ()
    wanting: Sequence[Wanting] = ()  # what would have paged
    out_of_reach: Sequence[OutOfReach] = ()  # what would not have, at any value that it can have
    notes: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "server_id": self.server_id,
            "observed_at": iso(self.observed_at),
            "paged": False,
            "model_version": self.model_version,
            "status": self.status.name.lower(),
            "score": None if np.isnan(self.score) else self.score,
            "severity": None if np.isnan(self.severity) else self.severity,
            "shared_severity": self.shared,
            "why": list(self.why),
            "persistence": {
                "needed": self.policy.needed,
                "of_last": self.policy.of_last,
                "observations": [{"observed_at": iso(at), "severity": severity} for at, severity in self.last],
            },
            "held_back": None if self.held is None else self.held.to_json(),
            "channels": [asdict(channel) for channel in self.channels],
            "metrics": [asdict(metric) for metric in self.metrics],
            "would_have_paged": [each.to_json() for each in self.wanting],
            "out_of_reach": [each.to_json() for each in self.out_of_reach],
            "notes": list(self.notes),
        }


def explain_moment(
    source: IncidentSource, server_id: str, at_ms: int, *, reproduce: bool = False
) -> Explanation | QuietMoment:
    """Explain a server at a time: the incident that was open then, or else why there was none.

    Args:
        source: Where it is stored.
        server_id: The server.
        at_ms: The time; the last observation up to it is meant.
        reproduce: Of an incident: whether to rebuild it.

    Raises:
        UsageError: Nothing of the server is stored around that time, or there is no incident to rebuild.
    """
    for incident_id in reversed(source.incidents_of(server_id, 0, at_ms)):
        last = source.incident(incident_id)[-1]
        if last.event is not AlertEvent.RESOLVED or parse_iso(last.clocks.observed_at) >= at_ms:
            return explain(source, incident_id, reproduce=reproduce)
    if reproduce:
        raise UsageError(
            f"--reproduce rebuilds an incident, and {server_id!r} had none open at {iso(at_ms)}: leave it out"
        )
    version = source.model_at(server_id, at_ms)
    path = ScoredPath.of((), server_id, 0, 0)
    if version is not None:
        path = source.scored(server_id, at_ms - BEFORE_MS, at_ms + AFTER_MS, model_version=version)
    if version is None or not len(path.observed_at):
        raise UsageError(
            f"nothing that was scored of {server_id!r} around {iso(at_ms)} is stored: {source.missing(server_id)}"
        )
    return _Moment(source, server_id, version, path, at_ms).explained()


class _Moment:
    """What could be loaded of one observation, and notes on what could not."""

    def __init__(self, source: IncidentSource, server_id: str, version: str, path: ScoredPath, at_ms: int) -> None:
        self.source, self.server_id, self.version, self.path = source, server_id, version, path
        self.notes: list[str] = []
        position = int(np.searchsorted(path.observed_at, at_ms, side="right")) - 1
        times = path.observed_at
        usual = float(np.median(np.diff(times))) if len(times) > 1 else np.inf
        if position < 0 or at_ms - int(times[position]) > NEAR_STEPS * usual:
            near = iso(int(times[max(position, 0)]))
            raise UsageError(f"{server_id!r} has no observation at {iso(at_ms)}; there is one of {near}")
        self.position, self.at = position, int(times[position])
        # Where nothing was kept, what ships: an alert would carry it, and there was none.
        self.stage_policy = path.origins[-1].policy if path.origins else PolicySettings()
        self.zone = path.origins[-1].zone if path.origins else DEFAULT_ZONE
        self.declared = path.origins[-1].declared if path.origins else DEFAULT_METRICS
        self.overrides: dict[int, Override] = {}
        self.is_evident: dict[int, bool] = {}  # of the observations that were decided again, by time
        self._find_overrides(path)
        override = self.overrides.get(self.at)
        self.policy = self.stage_policy if override is None else override.policy_over(self.stage_policy)
        decided = path.decided()
        counted = decided.observed_at <= self.at
        last = slice(-self.policy.of_last, None)
        self.last = [
            (int(at), float(severity))
            for at, severity in zip(decided.observed_at[counted][last], decided.severity[counted][last], strict=True)
        ]

    def _find_overrides(self, path: ScoredPath) -> None:
        """Load those that decided a path's observations."""
        try:
            self.overrides |= overrides_of(self.source, path)
        except ModelMismatchError as error:
            self.notes.append(f"thresholds and rule are the model's and the stage's own: {error}")

    def explained(self) -> QuietMoment:
        status = Status(int(self.path.status[self.position]))
        severity = float(self.path.severity[self.position])
        moment = QuietMoment(
            server_id=self.server_id,
            observed_at=self.at,
            model_version=self.version,
            status=status,
            score=float(self.path.score[self.position]),
            severity=severity,
            shared=0.0,
            why=(),
            policy=self.policy,
            last=self.last,
            path=self.path,
            notes=self.notes,
        )
        package = self._package()
        again = None if package is None or status is not Status.SCORED else self._replayed(package)
        if package is not None and again is not None:
            step = again.steps[-1]
            found, out_of_reach = self._wanting(package, again)
            self.is_evident = {each.at: each.is_evident for each in again.steps}
            moment = replace(
                moment,
                held=HeldBack.of(step),
                shared=step.shared(severity),
                channels=_readings(step, again.calibration, again.gated),
                metrics=[]
                if step.bands is None
                else metric_evidence(
                    package.metrics, again.rows[-1], step.bands, {metric.name: metric for metric in self.declared}
                ),
                wanting=found,
                out_of_reach=out_of_reach,
            )
        return replace(moment, why=self._why(status, severity, moment.shared, moment.held))

    def _why(self, status: Status, severity: float, shared: float, held: HeldBack | None) -> list[str]:
        """Each rule that was not met."""
        if status is Status.WARMING_UP:
            return ["the server was warming up: it learned its baseline, and nothing is scored before that ends"]
        if status is not Status.SCORED:
            return ["it came late: when later observations of the server had been decided, so it decides nothing"]
        told = []
        if severity < P2_SEVERITY:
            told.append(f"below P2 by {P2_SEVERITY - severity:.2f}: severity {severity:.2f}, P2 from {P2_SEVERITY:g}")
            if severity + shared >= P2_SEVERITY:
                told.append(f"{shared:.2f} was taken off, because the servers of its group shared it")
        if held is not None:
            told.append(str(held))
        reached = [at for at, each in self.last if each >= P2_SEVERITY]
        count = sum(self.is_evident.get(at, True) for at in reached)
        if count < len(reached):
            told.append(
                f"{len(reached) - count} of them not counted: no metric lay outside what was expected of it then"
            )
        if count < self.policy.needed:
            of_last, needed = self.policy.of_last, self.policy.needed
            told.append(f"{count} of the last {of_last} observations at or above P2, {needed} are needed")
        if not told:
            told.append(f"nothing opens within {self.policy.cooldown_s:g} s of the end of the incident before")
        step_ms = int(np.median(np.diff(self.path.observed_at))) if len(self.path.observed_at) > 1 else 0
        until = self.at + self.policy.of_last * step_ms
        later = self.source.incidents_of(self.server_id, self.at + 1, until)
        return [*told, *(f"its incident {incident_id} opened soon after" for incident_id in later[:1])]

    def _package(self) -> ModelPackage | None:
        try:
            return self.source.package(self.version)
        except ModelMismatchError as error:
            self.notes.append(f"no channels and no bands: {error}")
            return None

    def _start(self, package: ModelPackage, until: int) -> Origin:
        """The last state kept before a time, or else the one that training left."""
        kept = [origin for origin in self.path.origins if int(origin.state.last_at[0]) < until]
        if kept:
            return max(kept, key=lambda origin: int(origin.state.last_at[0]))
        state = package.new_state()
        package.admit(state, [self.server_id])
        return Origin(
            server_id=self.server_id,
            state=of_server(state, self.server_id),
            levels={},
            policy=self.stage_policy,
            declared=self.declared,
            zone=self.zone,
        )

    def _replayed(self, package: ModelPackage) -> "_Again | None":
        """The observations since the last known state, decided again with their stored scores."""
        first = self.last[0][0]
        start = self._start(package, first)
        since = max(int(start.state.last_at[0]) + 1, trained_until(package, self.server_id), 0)
        path = self.source.scored(self.server_id, since, self.at, model_version=self.version).advanced()
        stored = self.source.observations(self.server_id, since, self.at, package.metrics)
        observed = dict(zip(stored.observed_at.tolist(), stored.values, strict=True))
        wanted = path.observed_at.tolist()
        if any(at not in observed for at in wanted):
            self.notes.append("no channels and no bands: observations since its last kept state have expired")
            return None
        self._find_overrides(path)
        replay = ServerReplay(start, package, _no_forest, self.overrides, path.commons)
        before, steps = replay.state, list[Replayed]()
        gated: Mapping[str, bool] = {}
        for at, score in zip(wanted, path.score.tolist(), strict=True):
            if at == first:
                before = replay.state.copy()
            if at == self.at:
                names = [channel.name for channel in registry.every_channel()[1:]]
                gated = dict(zip(names, (replay.state.channel_gated[0] > 0).tolist(), strict=True))
            step = replay.step(at, observed[at], given_score=score)
            if at >= first:
                steps.append(step)
        if steps[-1].features.tobytes() != path.features[-1].tobytes():
            self.notes.append("no channels and no bands: decided again, its features are not those that were stored")
            return None
        return _Again(
            before=before,
            steps=steps,
            rows=np.array([observed[step.at] for step in steps]),
            gated=gated,
            calibration=replay.rules(self.at).calibration,
            commons=path.commons,
        )

    def _wanting(self, package: ModelPackage, again: "_Again") -> tuple[list[Wanting], list[OutOfReach]]:
        """What would have paged, by the forest that scored."""
        try:
            score, _ = self.source.scorer(self.version)
        except ScorerUnavailableError as error:
            self.notes.append(f"what would have paged is not known: {error}")
            return [], []
        severities = dict(self.last)
        levels = {step.at // package.step_ms: step.shared(severities[step.at]) for step in again.steps}
        state = again.before
        state.incident[0] = NONE  # levels that are not known may have opened one in the replay
        state.above_p2[0] = state.above_p1[0] = 0
        start = Origin(
            server_id=self.server_id,
            state=state,
            levels=levels,
            policy=self.stage_policy,
            declared=self.declared,
            zone=self.zone,
        )
        replay = ServerReplay(start, package, score, self.overrides, again.commons)
        count = min(self.policy.needed, len(again.steps))
        for step, values in zip(again.steps[:-count], again.rows[:-count], strict=True):
            replay.step(step.at, values)
        if (bands := again.steps[-1].bands) is None:
            return [], []
        return wanting(
            ServerReplay(replace(start, state=replay.state), package, score, self.overrides, again.commons),
            [step.at for step in again.steps[-count:]],
            again.rows[-count:],
            bands,
            names=package.metrics,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Again:
    """The observations that persistence counts, decided again."""

    commons: Mapping[int, npt.NDArray[np.float16]]  # what the server's peers had in common, by time
    before: FleetState  # of the server alone, before the first of them
    steps: list[Replayed]
    rows: npt.NDArray[np.float32]  # what was measured, shape (steps, metrics)
    gated: Mapping[str, bool]  # by channel but the score, at the last of them
    calibration: Calibration  # by which the last of them was decided


def _no_forest(rows: Any) -> Any:
    raise ScorerUnavailableError("the stored scores are replayed")


def _readings(step: Replayed, calibration: Calibration, gated: Mapping[str, bool]) -> list[ChannelReading]:
    """Every channel's measure beside its thresholds, the nearest to P2 first."""
    if step.calibrated is None:
        return []
    found = [
        ChannelReading(
            name=channel.name,
            meaning=channel.meaning,
            measure=float(measure),
            p2=calibration[channel.name].p2,
            p1=calibration[channel.name].p1,
            rarity=calibration[channel.name].rarity(float(measure)),
            is_gated=gated.get(channel.name, False),
        )
        for channel, measure in zip(registry.every_channel(), step.calibrated.measures[0], strict=True)
    ]
    return sorted(found, key=lambda reading: -reading.measure / reading.p2)
