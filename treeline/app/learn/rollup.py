"""The hourly roll-up: what an hour's scores looked like, small enough to keep for years.

An hour is summed up from its score blocks, so summing it up again gives the same item. Each run sums up the hour before
and, for what came late, once more the one before that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from treeline.app.alert.controls import Control, Scope
from treeline.app.detect.ports import Record
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.core.model.drift import HOUR_MS, Reference, count_features
from treeline.core.model.package import ModelPackage
from treeline.core.sketch import Sketch
from treeline.core.state.fleet import Phase
from treeline.core.statistics import FloatArray

MAX_HOURS_BACK = 72  # after an outage of the function; older hours stay as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """One hour of one model's scores."""

    model_version: str
    hour: int  # its start, milliseconds
    count: int  # of scores, as are mean, variance and sketch
    mean: float
    variance: float
    sketch: Sketch
    servers: int  # how many were scored
    features: FloatArray  # counts by feature and bin (treeline.core.model.drift), shape (features, bins)
    # By metric, the median over servers of how far the trailing day's mean is from training, in the server's own
    # standard deviations of training; empty where the state was not of this hour.
    levels: dict[str, float] = field(default_factory=dict)
    opened: int = 0  # incidents

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "count": self.count,
            "mean": self.mean,
            "variance": self.variance,
            "sketch": self.sketch.to_json(),
            "servers": self.servers,
            "features": self.features.astype(int).tolist(),
            "levels": self.levels,
            "opened": self.opened,
        }

    @classmethod
    def from_json(cls, model_version: str, hour: int, body: Mapping[str, Any]) -> "Rollup":
        """Read what `to_json` wrote."""
        return cls(
            model_version=model_version,
            hour=hour,
            count=int(body["count"]),
            mean=float(body["mean"]),
            variance=float(body["variance"]),
            sketch=Sketch.from_json(body["sketch"]),
            servers=int(body["servers"]),
            features=np.array(body["features"], dtype=np.float64),
            levels={name: float(value) for name, value in body["levels"].items()},
            opened=int(body["opened"]),
        )


class PastDecisions(Protocol):
    """What detection left behind."""

    def groups(self) -> int:
        """How many groups of servers there are."""

    def blocks(self, group: int, start_ms: int, end_ms: int) -> Iterable[ScoreBlock]:
        """Score blocks with observations in [start, end), of whichever model decided."""

    def record(self, group: int, model_version: str) -> Record | None:
        """The group's state now."""

    def opened(self, start_ms: int, end_ms: int) -> int:
        """Incidents opened in [start, end)."""

    def maintenance(self) -> Sequence[Control]:
        """All maintenance windows there are."""


class Rollups(Protocol):
    """The rollups table."""

    def put(self, rollup: Rollup) -> None:
        """Write one hour; writing it again replaces it."""

    def read(self, model_version: str, start_ms: int, end_ms: int) -> Sequence[Rollup]:
        """A model's hours in [start, end), in order."""

    def rolled_up_to(self) -> int | None:
        """End of the last hour done; None before the first run."""

    def set_rolled_up_to(self, end_ms: int) -> None:
        """Remember it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupOutcome:
    """What a run did."""

    hours: int
    items: int
    scores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupService:
    """Sums up the hours that are over."""

    history: PastDecisions
    rollups: Rollups
    package: Callable[[], ModelPackage | None]  # the active model's package; None before the first

    def run(self, now_ms: int) -> RollupOutcome:
        """Sum up every hour that ended by `now_ms` and was not yet, and once more the hour before those."""
        end = now_ms - now_ms % HOUR_MS
        done = self.rollups.rolled_up_to()
        start = end - HOUR_MS if done is None else min(done, end) - HOUR_MS
        start = max(start, end - MAX_HOURS_BACK * HOUR_MS)
        package, maintenance = self.package(), self.history.maintenance()
        fleet = _Fleet(self.history, package)
        items = scores = 0
        for hour in range(start, end, HOUR_MS):
            for rollup in self._hour(hour, fleet, maintenance):
                self.rollups.put(rollup)
                items, scores = items + 1, scores + rollup.count
        if done is None or end > done:
            self.rollups.set_rolled_up_to(end)
        return RollupOutcome(hours=(end - start) // HOUR_MS, items=items, scores=scores)

    def _hour(self, hour: int, fleet: "_Fleet", maintenance: Sequence[Control]) -> list[Rollup]:
        away = [
            window.scope
            for window in maintenance
            if window.starts_ms < hour + HOUR_MS and hour < window.until_ms and not window.scope.fleet
        ]
        scores: dict[str, list[FloatArray]] = {}
        features: dict[str, FloatArray] = {}
        servers: dict[str, set[str]] = {}
        for group in range(fleet.groups):
            for block in self.history.blocks(group, hour, hour + HOUR_MS):
                inside = (block.observed_at >= hour) & (block.observed_at < hour + HOUR_MS)
                inside &= (block.status == Status.SCORED) & np.isfinite(block.score)
                if away:
                    inside &= np.array([not _is_away(block.servers[int(s)], away) for s in block.server], dtype=bool)
                if not inside.any():
                    continue
                version = block.model_version
                scores.setdefault(version, []).append(block.score[inside])
                counted, before = count_features(block.features[inside]), features.get(version)
                # A deployment that made other rows left both kinds in its hour: the later blocks' count.
                if before is not None and before.shape == counted.shape:
                    counted += before
                features[version] = counted
                servers.setdefault(version, set()).update(block.servers[int(s)] for s in block.server[inside])
        opened = self.history.opened(hour, hour + HOUR_MS) if scores else 0
        made = []
        for version, parts in scores.items():
            values = np.concatenate(parts).astype(np.float64)
            made.append(
                Rollup(
                    model_version=version,
                    hour=hour,
                    count=len(values),
                    mean=float(values.mean()),
                    variance=float(values.var()),
                    sketch=Sketch.of(np.maximum(values, 0.0)),
                    servers=len(servers[version]),
                    features=features[version],
                    levels=fleet.levels(hour, away) if fleet.active_version == version else {},
                    opened=opened,
                )
            )
        return made


class _Fleet:
    """The groups' states now, each read once in a run, however many hours are summed up."""

    def __init__(self, history: PastDecisions, package: ModelPackage | None) -> None:
        self._history = history
        self._package = package
        self._records: list[Record] | None = None
        self.groups = history.groups()

    @property
    def active_version(self) -> str | None:
        """The model that decides."""
        return None if self._package is None else self._package.model_version

    def levels(self, hour: int, away: Sequence[Scope]) -> dict[str, float]:
        """Each metric's level; known only of the hour now and the one before, as there is no older state."""
        package, levels = self._package, []
        if package is None:
            return {}
        for record in self._read(package.model_version):
            state = record.state
            fresh = (state.last_at >= hour) & (state.last_at < hour + 2 * HOUR_MS) & (state.phase == Phase.READY)
            fresh &= np.array([not _is_away(server, away) for server in state.servers], dtype=bool)
            levels.append(np.abs(state.day_mean[fresh]))
        known = np.concatenate(levels) if levels else np.empty((0, len(package.metrics)))
        if not len(known):
            return {}
        return {name: float(np.median(known[:, i])) for i, name in enumerate(package.metrics)}

    def _read(self, model_version: str) -> list[Record]:
        if self._records is None:
            found = (self._history.record(group, model_version) for group in range(self.groups))
            self._records = [record for record in found if record is not None and len(record.state.servers)]
        return self._records


def _is_away(server_id: str, away: Sequence[Scope]) -> bool:
    """Whether a window covers a server; windows by label cover none here, where labels are not known."""
    return any(scope.covers(server_id, {}) for scope in away)


def reference_of(package: ModelPackage) -> Reference:
    """What the model's training looked like: as its manifest says, else from its servers' seeds."""
    known = package.manifest.get("reference")
    if isinstance(known, Mapping):
        return Reference(
            score_mean=float(known["score_mean"]),
            score_sd=float(known["score_sd"]),
            features=tuple(tuple(float(x) for x in shares) for shares in known["features"]),
        )
    seeds = package.seeds
    ready = seeds.phase == Phase.READY
    means = seeds.score_mean[ready].astype(np.float64)
    variance = float(np.mean(seeds.score_var[ready])) + float(means.var()) if len(means) else 1.0
    return Reference(score_mean=float(means.mean()) if len(means) else 0.0, score_sd=max(variance, 1e-12) ** 0.5)
