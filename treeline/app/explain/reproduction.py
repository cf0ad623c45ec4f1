"""The proof of an explanation: an incident's scores computed again from what is stored, and compared bit for bit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from treeline.app.detect.origin import Origin, of_server
from treeline.app.detect.override import Override
from treeline.app.detect.scoreblock import Status
from treeline.app.explain.incident_source import Observed, Score, ScoredPath
from treeline.app.explain.server_replay import Replayed, ServerReplay
from treeline.core.model.package import ModelPackage
from treeline.core.state.layout import NEVER
from treeline.core.times import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltPart:
    """One thing rebuilt: what, from what, and whether all of it is equal."""

    what: str
    source: str
    count: int
    equal: int

    @property
    def is_equal(self) -> bool:
        """Whether every one came out the same."""
        return self.count == self.equal

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"what": self.what, "from": self.source, "count": self.count, "equal": self.equal}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What was rebuilt, and why not more of it."""

    parts: Sequence[RebuiltPart]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def is_equal(self) -> bool:
        """Whether there was something to rebuild and all of it came out the same."""
        return bool(self.parts) and all(part.is_equal for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"equal": self.is_equal, "parts": [p.to_json() for p in self.parts], "notes": list(self.notes)}


def from_training(
    package: ModelPackage,
    score: Score,
    path: ScoredPath,
    observed: Observed,
    origin: Origin,
    at: int,
    overrides: Mapping[int, Override],
) -> tuple[RebuiltPart, ...] | str:
    """Rebuild every score of the server since its model was trained, from observations and model package alone.

    Or says why that cannot be done: observations have expired, or the model took over from another.
    """
    if origin.state.activation > 1:
        return "the model took the server over from an earlier one, so its training is not where it began"
    known = {int(t): i for i, t in enumerate(path.observed_at)}
    times = [int(t) for t in observed.observed_at if int(t) <= at]
    before = sum(t <= int(origin.state.last_at[0]) for t in times)
    decided_before = int(origin.state.observations[0])
    if before < decided_before or any(t not in known for t in times):
        return f"{before} of the {decided_before} observations before it are still stored"
    scored, stored = sum(t <= at for t in known), len(times)
    if stored < scored:
        return f"{stored} of the {scored} observations up to it are still stored"
    state = package.new_state()
    package.admit(state, [origin.server_id])
    start = replace(origin, state=of_server(state, origin.server_id))
    replay = ServerReplay(start, package, score, overrides, path.commons)
    rows, stored_rows, stored_scores = [], [], []
    for t, values in zip(times, observed.values, strict=False):
        entry = known[t]
        if path.status[entry] in (Status.SCORED, Status.WARMING_UP):
            step = replay.step(t, values, given_score=float(path.score[entry]))
            if len(step.features):
                rows.append(step.features)
                stored_rows.append(path.features[entry])
                stored_scores.append(path.score[entry])
    if not rows:
        return "the server was warming up"
    scores = score(np.array(rows))
    source = f"model package {package.model_version} and {len(times)} stored observations"
    return (
        _part("feature rows", source, np.array(rows), np.array(stored_rows)),
        _part("scores", f"{source}, through the forest", scores, np.array(stored_scores)),
    )


def from_origin(steps: Sequence[Replayed], path: ScoredPath, policy_opened: bool) -> tuple[RebuiltPart, ...]:
    """Compare the observations replayed from the state kept with the incident with what was stored of them.

    `policy_opened` says whether the replay opens the incident where it was opened.
    """
    source = f"the state kept with the incident and {len(steps)} stored observation{'s' * (len(steps) > 1)}"
    steps = [step for step in steps if len(step.features)]  # the others were warming up
    at = [int(np.flatnonzero(path.observed_at == step.at)[0]) for step in steps]
    severities = np.array([step.severity for step in steps]).astype(np.float32)
    return (
        _part("feature rows", source, np.array([s.features for s in steps]), path.features[at]),
        _part("scores", f"{source}, through the forest", np.array([s.score for s in steps]), path.score[at]),
        _part("severities", f"{source}, calibrated", severities, path.severity[at]),
        RebuiltPart(what="the opening", source=f"{source}, by the policy", count=1, equal=int(policy_opened)),
    )


def from_rows(score: Score, path: ScoredPath) -> tuple[RebuiltPart, ...]:
    """Score the stored feature rows again: what is left when observations and state are gone."""
    scored = path.status != Status.WARMING_UP
    scored &= np.isfinite(path.score)
    if not scored.any():
        return ()
    again = score(path.features[scored])
    return (_part("scores", "the stored feature rows, through the forest", again, path.score[scored]),)


def expired_note(observed: Observed, origin: Origin | None, at: int) -> str:
    """Why there is nothing to replay."""
    if origin is None:
        return "no state was kept with this incident, so its features are not rebuilt"
    last = int(origin.state.last_at[0])
    since = "its first observation" if last == NEVER else iso(last)
    return f"observations between {since} and {iso(at)} have expired, so features are not rebuilt"


def _part(what: str, source: str, rebuilt: Any, stored: Any) -> RebuiltPart:
    """Compares bytes, so that NaN equals NaN and the last bit counts."""
    mine, theirs = np.ascontiguousarray(rebuilt), np.ascontiguousarray(stored)
    count = len(mine)
    equal = sum(mine[i].tobytes() == theirs[i].tobytes() for i in range(count)) if mine.dtype == theirs.dtype else 0
    return RebuiltPart(what=what, source=source, count=count, equal=equal)
