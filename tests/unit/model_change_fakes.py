"""Two models of one small fleet, and a detect over in-memory tables that follows the pointer between them."""

from dataclasses import dataclass, field, replace

import numpy as np

from tests.unit.detection_fakes import METRICS, SAMPLES_PER_TREE, STEP_MS, TICK, Store, distance_score, fleet, service
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from treeline.app.detect.handover import HandoverRecords, Pointer
from treeline.app.promote.canary import Canary
from treeline.app.promote.candidate_run import Calls, CandidateRun, MeasuredScorer, WatchedDetect
from treeline.core.alert import Alert
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import ScorerUnavailableError
from treeline.core.model.package import ModelPackage

SERVERS, TRAIN, LIVE = 12, 1440, 240


def second_score(rows: np.ndarray) -> np.ndarray:
    """Another forest: same order, another scale."""
    return distance_score(rows, typical=1.5)


def history() -> Grid:
    """A day to train on and four hours that come."""
    return fleet(SERVERS, TRAIN + LIVE)


def part(grid: Grid, start: int, stop: int) -> Grid:
    return replace(grid, times_ms=grid.times_ms[start:stop], values=grid.values[start:stop])


def packages(grid: Grid) -> tuple[ModelPackage, ModelPackage]:
    """m1 of the whole day; m2 of all but its first quarter, with another forest."""
    first = calibrate_package(
        prepare(part(grid, 0, TRAIN), seed=1), distance_score, model_version="m1", samples_per_tree=SAMPLES_PER_TREE
    )
    second = calibrate_package(
        prepare(part(grid, TRAIN // 4, TRAIN), seed=2),
        second_score,
        model_version="m2",
        samples_per_tree=SAMPLES_PER_TREE,
    )
    return ModelPackage.from_bytes(first.to_bytes()), ModelPackage.from_bytes(second.to_bytes())


class Decisions:
    """What a candidate decided."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.calls: dict[str, Calls] = {}

    def record(self, model_version: str, alert: Alert) -> None:
        self.alerts.append(alert)

    def add_calls(self, model_version: str, role: str, calls: Calls) -> None:
        total = self.calls.setdefault(role, Calls())
        total.errors += calls.errors
        total.durations_ms += calls.durations_ms


@dataclass
class PointedModels:
    """The pointers, in memory."""

    packages: dict[str, ModelPackage]
    pointer: Pointer | None = None
    canary: Canary | None = None

    def point_at(self, version: str) -> None:
        before = self.pointer
        self.pointer = Pointer(
            model_version=version,
            package_key=version,
            activation=1 if before is None else before.activation + 1,
            previous_version="" if before is None else before.model_version,
            previous_package_key="" if before is None else before.package_key,
        )

    def active(self) -> ModelPackage | None:
        return None if self.pointer is None else self.packages[self.pointer.model_version]

    def read(self) -> Pointer | None:
        return self.pointer

    def load(self, key: str) -> ModelPackage:
        return self.packages[key]


class TwoForests:
    """Answers with the forest of the model that is meant."""

    def __init__(self, version) -> None:
        self.version = version
        self.is_down = False
        self.bias = 0.0

    def score(self, rows: np.ndarray) -> np.ndarray:
        if self.is_down:
            raise ScorerUnavailableError("down")
        forest = {"m1": distance_score, "m2": second_score}[self.version()]
        return forest(rows) + self.bias


@dataclass
class World:
    """A fleet streaming into detect."""

    grid: Grid
    models: PointedModels
    store: Store = field(default_factory=lambda: Store(None))
    decisions: Decisions = field(default_factory=Decisions)
    errors: list[Exception] = field(default_factory=list)
    sent: int = TRAIN
    policy: PolicySettings | None = None

    def __post_init__(self) -> None:
        self.candidate = TwoForests(lambda: "m2")
        champion = MeasuredScorer(TwoForests(lambda: self.models.pointer.model_version))
        records = HandoverRecords(
            records=self.store, scores=self.store, models=self.models, clock_ms=lambda: int(self.grid.times_ms[-1])
        )
        self.champion = replace(
            service(self.store, now_ms=int(self.grid.times_ms[-1]), policy=self.policy),
            records=records,
            models=self.models,
            scorer=champion,
        )
        self.detect = WatchedDetect(
            self.champion,
            CandidateRun(
                champion=self.champion,
                models=self.models,
                records=self.store,
                scorer_of=lambda _: self.candidate,
                champion_calls=champion.take,
                decisions=self.decisions,
                on_error=self.errors.append,
            ),
        )

    def stream(self, steps: int, every: int = 20) -> None:
        """Send steps and tick every so many."""
        for t in range(self.sent, self.sent + steps):
            for i, server in enumerate(self.grid.servers):
                self.store.add(server, int(self.grid.times_ms[t]), self.grid.values[t, i])
            if (t + 1) % every == 0:
                self.detect.run(TICK)
        self.sent += steps
        self.detect.run(TICK)

    def told(self) -> list[tuple[str, str, str, int]]:
        return [(a.incident_id, a.event.value, a.model_version, a.sequence) for a in self.store.alerts]


__all__ = ["LIVE", "METRICS", "SERVERS", "STEP_MS", "TRAIN", "PointedModels", "World", "history", "packages"]
