"""Why an incident opened: measured and expected, the score's path, the rule that fired, what would prevent it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.app.detect.origin import Origin
from treeline.app.detect.override import Override
from treeline.app.detect.rules import Rules
from treeline.app.detect.scoreblock import Status
from treeline.app.explain import reproduction
from treeline.app.explain.counterfactual import Counterfactual, counterfactuals
from treeline.app.explain.incident_source import LATEST_MS, IncidentSource, Observed, Score, ScoredPath, overrides_of
from treeline.app.explain.rarity import HeldBack, how_rare
from treeline.app.explain.reproduction import Reproduction
from treeline.app.explain.server_replay import Replayed, ServerReplay
from treeline.core.alert import Alert, AlertEvent, MetricEvidence
from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.evidence import metric_evidence
from treeline.core.detection.policy import FLEET, PolicySettings
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError
from treeline.core.model.package import ModelPackage
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY
from treeline.core.state.layout import NEVER
from treeline.core.times import iso, parse_iso
from treeline.core.wording import moved

BEFORE_MS, AFTER_MS = 6 * 3_600_000, 3_600_000  # of the path around the opening


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """The rule that fired: `needed` of the last `of_last` observations at or above a tier, or one far above it."""

    priority: str
    tier: float
    needed: int
    of_last: int
    observations: tuple[tuple[int, float, bool], ...]  # time, severity, whether it counted
    is_alone: bool = False  # whether one observation was enough, because several metrics agreed

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "priority": self.priority,
            "severity_at_least": self.tier,
            "needed": self.needed,
            "of_last": self.of_last,
            "several_metrics_agree": self.is_alone,
            "observations": [
                {"observed_at": iso(at), "severity": severity, "counted": counted}
                for at, severity, counted in self.observations
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An incident explained; parts that can no longer be known are empty, and `notes` say why."""

    alerts: Sequence[Alert]  # the incident's changes
    metrics: Sequence[MetricEvidence]  # of the deciding observation, the farthest from its expectation first
    calibration: Mapping[str, Any]  # every measure of the deciding observation, and the thresholds it met
    path: ScoredPath  # scores and severities around the opening
    persistence: Persistence | None = None  # the rule that fired
    counterfactuals: Sequence[Counterfactual] = field(default_factory=tuple)  # what would have prevented or delayed it
    prevention: str = ""  # said where no one metric, or no change of the deciding observation, would have prevented it
    reproduction: Reproduction | None = None  # when it was asked for
    forest: str = ""  # where the forest was found
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def opening(self) -> Alert:
        """The change that opened the incident, as decided."""
        return self.alerts[0]

    @property
    def is_open(self) -> bool:
        """Whether it is still open."""
        return self.alerts[-1].event is not AlertEvent.RESOLVED

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        opening, path = self.opening, self.path
        return {
            "incident_id": opening.incident_id,
            "server_id": opening.server_id,
            "state": "open" if self.is_open else "resolved",
            "priority": opening.priority.value,
            "opened_at": opening.clocks.observed_at,
            "first_anomalous_at": opening.clocks.first_anomalous_at,
            "model_version": opening.model_version,
            "severity": opening.severity,
            "score": opening.score,
            "threshold": opening.threshold,
            "events": [
                {
                    "event": alert.event.value,
                    "priority": alert.priority.value,
                    "severity": alert.severity,
                    "observed_at": alert.clocks.observed_at,
                    "told": not alert.suppressed,
                    "quiet": alert.suppressed,
                    "muted_by": alert.muted_by,
                }
                for alert in self.alerts
            ],
            "metrics": [_shown(metric) for metric in self.metrics],
            "calibration": dict(self.calibration),
            "persistence": None if self.persistence is None else self.persistence.to_json(),
            "prevention": self.prevention,
            "counterfactuals": [c.to_json() for c in self.counterfactuals],
            "path": [
                {
                    "observed_at": iso(int(at)),
                    "status": Status(int(status)).name.lower(),
                    "score": None if np.isnan(score) else float(score),
                    "severity": None if np.isnan(severity) else float(severity),
                }
                for at, status, score, severity in zip(
                    path.observed_at, path.status, path.score, path.severity, strict=True
                )
            ],
            "forest": self.forest,
            "reproduction": None if self.reproduction is None else self.reproduction.to_json(),
            "notes": list(self.notes),
        }


def _shown(m: MetricEvidence) -> dict[str, Any]:
    """A metric as plain JSON values."""
    return {
        "name": m.name,
        "unit": m.unit,
        "measured": m.measured,
        "expected": m.expected,
        "low": m.low,
        "high": m.high,
        "deviation_sd": m.deviation,
        "expected_by": m.expected_by,
        "implied": m.implied,
        "implied_low": m.implied_low,
        "implied_high": m.implied_high,
        "implied_by": [asdict(each) for each in m.implied_by],
        "outside": m.is_outside,
        "text": moved(m),
    }


def resolve(source: IncidentSource, given: str) -> str:
    """The id of the one incident that a server's name, or the beginning of an id, can mean; else what was given."""
    known = source.incidents_of(given.rpartition("/")[0] or given, 0, LATEST_MS)
    meant = [incident_id for incident_id in known if incident_id.startswith(given)]
    return meant[0] if len(meant) == 1 else given


def explain(source: IncidentSource, incident_id: str, *, reproduce: bool = False) -> Explanation:
    """Explain an incident from what is stored of it; raises UsageError where there is no such incident."""
    alerts = source.incident(incident_id)
    opening = alerts[0]
    at = parse_iso(opening.clocks.observed_at)
    if opening.server_id == FLEET:
        note = "the servers share this incident: the median severity of a group rose, no server's own metrics did"
        empty = ScoredPath.of((), FLEET, at, at)
        return Explanation(alerts=alerts, metrics=[], calibration={}, path=empty, notes=[note])
    return _Case(source, alerts, at).explained(reproduce=reproduce)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replay:
    """Steps from the origin to the deciding observation, and how the server stood before the first anomalous one."""

    steps: list[Replayed]
    before: ServerReplay
    times: list[int]  # from the first anomalous observation to the last that is stored of the incident's first hour
    measured: npt.NDArray[np.float32]  # then, shape (times, metrics)
    deciding: int  # which of the times opened it

    @property
    def opens(self) -> bool:
        """Whether the last step opens the incident."""
        return any(change.event is AlertEvent.OPENED for change in self.steps[-1].changes)


class _Case:
    """What could be loaded of an incident, and notes on what could not."""

    def __init__(self, source: IncidentSource, alerts: list[Alert], at: int) -> None:
        opening = alerts[0]
        self.source, self.alerts, self.at = source, alerts, at
        self.server_id, self.version = opening.server_id, opening.model_version
        self.first = parse_iso(opening.clocks.first_anomalous_at)
        self.notes: list[str] = []
        self.path = source.scored(self.server_id, at - BEFORE_MS, at + AFTER_MS, model_version=self.version)
        if not len(self.path.observed_at):
            self.notes.append("its scores have expired; what the alert carried is all there is")
        self.origin = self._origin()
        self.since_origin = self._since_origin()
        self.package: ModelPackage | None = None
        self.score: Score | None = None
        self.forest = ""
        self.overrides: dict[int, Override] = {}
        try:
            self.overrides = overrides_of(source, self.path, self.since_origin)
            self.package = source.package(self.version)
            self.score, self.forest = source.scorer(self.version)
        except (ModelMismatchError, ScorerUnavailableError) as error:
            self.notes.append(f"nothing can be scored again: {error}")

    def _origin(self) -> Origin | None:
        """The last state kept before the first anomalous observation, or else before the deciding one.

        It gets the levels of all commits: the way from it to the deciding observation may lead through several.
        """
        kept = sorted(self.path.origins, key=lambda o: int(o.state.last_at[0]))
        levels = {bucket: level for o in kept for bucket, level in o.levels.items()}
        excesses = {bucket: excess for o in kept for bucket, excess in o.score_excesses.items()}
        for moment in (self.first, self.at):
            found = [o for o in kept if int(o.state.last_at[0]) < moment]
            if found:
                return replace(found[-1], levels=levels, score_excesses=excesses)
        return None

    def _since_origin(self) -> ScoredPath:
        """What was scored from the origin on.

        The origin stands before the commit that opened the incident. One that caught up on a backlog began hours
        earlier, and a replay that leaves a part of the way out ends in another state.
        """
        start = 0 if self.origin is None else int(self.origin.state.last_at[0]) + 1
        if self.origin is None or start >= self.at - BEFORE_MS:
            return self.path
        return self.source.scored(self.server_id, max(start, 0), self.at, model_version=self.version)

    def explained(self, *, reproduce: bool) -> Explanation:
        opening = self.alerts[0]
        metrics: Sequence[MetricEvidence] = opening.metrics
        calibration: dict[str, Any] = {"score": opening.score, "threshold": opening.threshold}
        found: list[Counterfactual] = []
        prevention = ""
        replayed = self._replay()
        if replayed is not None and self.package is not None and self.origin is not None:
            last = replayed.steps[-1]
            declared = declared_of(opening)
            measured = replayed.measured[replayed.deciding]
            if last.bands is not None:
                metrics = metric_evidence(self.package.metrics, measured, last.bands, declared)
            level = self.origin.levels.get(self.at // self.package.step_ms, 0.0)
            calibration |= _calibrated(last) | {"fleet_level": level}
            if replayed.opens and last.bands is not None:
                found = counterfactuals(
                    replayed.before,
                    replayed.times,
                    replayed.measured,
                    replayed.deciding,
                    last.bands,
                    names=self.package.metrics,
                    units=[declared[name].unit if name in declared else "" for name in self.package.metrics],
                )
                prevention = self._prevention(found)
            else:
                self.notes.append("decided again, the incident does not open: what is stored is not what decided it")
        if self.package is not None:
            rules = Rules.of(self.package, self._policy(), self.overrides.get(self.at))
            if replayed is not None:
                calibration |= _rarity(replayed.steps[-1], rules.calibration)
            calibration["thresholds"] = rules.calibration.to_json()
            if rules.override:
                calibration["override"] = rules.override
        return Explanation(
            alerts=self.alerts,
            metrics=metrics,
            calibration=calibration,
            path=self.path,
            persistence=self._persistence({} if replayed is None else {step.at: step for step in replayed.steps}),
            counterfactuals=found,
            prevention=prevention,
            reproduction=self._reproduction(replayed) if reproduce else None,
            forest=self.forest,
            notes=self.notes,
        )

    def _prevention(self, found: Sequence[Counterfactual]) -> str:
        """What to say where no bound on one metric, or none on the deciding observation, would have prevented it."""
        preventing = [each for each in found if each.delay is None]
        if not preventing:
            return "no bound on a metric, nor on all of them together, would have prevented it"
        if not any(each.changes_deciding for each in preventing):
            deciding = f"the deciding observation, {iso(self.at)[:19]}Z"
            return f"nothing in {deciding}, would have prevented it: earlier ones would have"
        return "" if len(preventing[0].bounds) == 1 else "no bound on one metric alone would have prevented it"

    def _observed(self, start_ms: int, end_ms: int) -> Observed:
        metrics = () if self.package is None else self.package.metrics
        return self.source.observations(self.server_id, start_ms, end_ms, metrics)

    def _following(self, replay: ServerReplay) -> tuple[list[int], list[npt.NDArray[np.float32]], dict[int, float]]:
        """What is stored after the opening, until the incident was resolved or for an hour, whichever ends first.

        Decides it in `replay`, with the stored scores: that gives the level of the group, which no commit has kept of
        a server whose incident is open. Gives times (ms), values, and the levels by bucket.
        """
        last = self.alerts[-1]
        end = self.at + AFTER_MS
        if last.event is AlertEvent.RESOLVED:
            end = min(end, parse_iso(last.clocks.observed_at))
        observed = self._observed(self.at + 1, end)
        path = self.path.advanced()
        times, values, levels = list[int](), list[npt.NDArray[np.float32]](), dict[int, float]()
        for at, score, severity in zip(
            path.observed_at.tolist(), path.score.tolist(), path.severity.tolist(), strict=True
        ):
            if not self.at < at <= end:
                continue
            if (row := observed.at(at)) is None:
                break
            times.append(at)
            values.append(row)
            levels[at // replay.step_ms] = replay.step(at, row, given_score=score).shared(severity)
        return times, values, levels

    def _replay(self) -> _Replay | None:
        """The server's observations from its origin to the deciding one, decided again; None where that cannot be."""
        if self.origin is None or self.package is None or self.score is None:
            if self.origin is None and len(self.path.observed_at):
                self.notes.append(
                    "no state was kept with this incident: no bands beyond the alert's, and no counterfactuals"
                )
            return None
        decided = self.since_origin.advanced().observed_at
        wanted = [int(t) for t in decided if int(self.origin.state.last_at[0]) < t <= self.at]
        observed = self._observed(wanted[0], self.at) if wanted else None
        values = [] if observed is None else [v for v in map(observed.at, wanted) if v is not None]
        if not wanted or len(values) < len(wanted):
            self.notes.append("its observations have expired: nothing can be decided again")
            return None
        replay = ServerReplay(self.origin, self.package, self.score, self.overrides, self.since_origin.commons)
        begin = next((i for i, t in enumerate(wanted) if t >= self.first), len(wanted) - 1)
        steps = [replay.step(t, v) for t, v in zip(wanted[:begin], values, strict=False)]
        before = replay.state.copy()
        steps += [replay.step(t, v) for t, v in zip(wanted[begin:], values[begin:], strict=True)]
        times, following, levels = self._following(replay)
        origin = replace(self.origin, state=before, levels=levels | dict(self.origin.levels))
        return _Replay(
            steps=steps,
            before=ServerReplay(
                origin, self.package, self.score, self.overrides, {**self.since_origin.commons, **self.path.commons}
            ),
            times=wanted[begin:] + times,
            measured=np.array(values[begin:] + following),
            deciding=len(wanted) - begin - 1,
        )

    def _policy(self) -> PolicySettings:
        """What decided: the stage's policy, and what overrode it."""
        policy = self.origin.policy if self.origin else PolicySettings()
        override = self.overrides.get(self.at)
        return policy if override is None else override.policy_over(policy)

    def _persistence(self, steps: Mapping[int, Replayed]) -> Persistence | None:
        """The rule that fired, by what was decided again; else an observation counts by its severity."""
        policy = self._policy()
        decided = self.path.decided()
        upto = decided.observed_at <= self.at
        times, severities = decided.observed_at[upto][-policy.of_last :], decided.severity[upto][-policy.of_last :]
        if not len(times) or int(times[-1]) != self.at:
            return None
        evident = np.array([int(at) not in steps or steps[int(at)].is_evident for at in times])
        at_p1 = (severities > P1_SEVERITY) & evident
        is_p1 = int(at_p1.sum()) >= policy.needed and bool(at_p1[-1])
        agrees = self.at in steps and steps[self.at].is_agreeing
        if not is_p1 and agrees and at_p1[-1] and 0 < policy.alone_severity <= severities[-1]:
            only = (int(times[-1]), float(severities[-1]), True)
            return Persistence(
                priority="P1", tier=policy.alone_severity, needed=1, of_last=1, observations=(only,), is_alone=True
            )
        tier = P1_SEVERITY if is_p1 else P2_SEVERITY
        counted = at_p1 if is_p1 else (severities >= tier) & evident
        return Persistence(
            priority="P1" if is_p1 else "P2",
            tier=tier,
            needed=policy.needed,
            of_last=policy.of_last,
            observations=tuple((int(t), float(s), bool(c)) for t, s, c in zip(times, severities, counted, strict=True)),
        )

    def _reproduction(self, replayed: _Replay | None) -> Reproduction:
        if self.score is None or self.package is None:
            return Reproduction(parts=(), notes=list(self.notes))
        notes, parts = [], list[reproduction.RebuiltPart]()
        if self.origin is not None:
            start = trained_until(self.package, self.server_id)
            path = self.source.scored(self.server_id, start, self.at, model_version=self.version)
            whole = reproduction.from_training(
                self.package,
                self.score,
                path,
                self._observed(start, self.at),
                self.origin,
                self.at,
                overrides_of(self.source, path),
            )
            if isinstance(whole, str):
                notes.append(f"not rebuilt from training on: {whole}")
            else:
                parts += whole
        if replayed is not None:
            parts += reproduction.from_origin(replayed.steps, self.since_origin, replayed.opens)
        else:
            notes.append(reproduction.expired_note(self._observed(self.at, self.at), self.origin, self.at))
        if not parts:
            parts += reproduction.from_rows(self.score, self.path)
        return Reproduction(parts=parts, notes=notes)


def trained_until(package: ModelPackage, server_id: str) -> int:
    """The first moment after a server's training, ms; 0 for a server that the model had not met."""
    if server_id not in package.seeds.rows():
        return 0
    last = int(package.seeds.last_at[package.seeds.rows()[server_id]])
    return 0 if last == NEVER else last + 1


def _rarity(step: Replayed, calibration: Calibration) -> dict[str, Any]:
    """How rare the deciding measure is in the fleet's past, where that is known."""
    if step.calibrated is None:
        return {}
    channel = int(step.calibrated.channel[0])
    name = registry.every_channel()[channel].name
    rarity = calibration[name].rarity(float(step.calibrated.measures[0, channel]))
    return {} if rarity is None else {"rarity": rarity, "how_rare": how_rare(rarity)}


def declared_of(alert: Alert) -> dict[str, Metric]:
    """Units and limits by metric: the default ones, with the units that the alert was written in."""
    known = {metric.name: metric for metric in DEFAULT_METRICS}
    for metric in alert.metrics:
        known[metric.name] = replace(known.get(metric.name, Metric(name=metric.name)), unit=metric.unit)
    return known


def _calibrated(step: Replayed) -> dict[str, Any]:
    """What gave the severity and what every channel measured, before what the fleet shares is taken off."""
    calibrated = step.calibrated
    if calibrated is None:
        return {}
    decided_by = calibrated.deciding(0)
    names = [channel.name for channel in registry.every_channel()]
    return {
        "severity": float(calibrated.severity[0]),
        "threshold": float(calibrated.threshold[0]),
        "channel": decided_by.name,
        "meaning": decided_by.meaning,
        "held_back": None if (held := HeldBack.of(step)) is None else held.to_json(),
        "measures": dict(zip(names, map(float, calibrated.measures[0]), strict=True)),
    }
