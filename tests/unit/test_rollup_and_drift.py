"""Hours summed up from score blocks, and the daily check that may start one retraining."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.unit.promotion_fakes import SERVERS, package
from treeline.app.alert.controls import Control, ControlKind, Scope
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.app.learn.drift import DriftService, Retraining
from treeline.app.learn.rollup import Rollup, RollupService, reference_of
from treeline.core.model.drift import DAY_MS, HOUR_MS, DriftOutcome, DriftRules, count_features, reference
from treeline.core.sketch import Sketch

WIDTH = len(package("m1").features)
START = 1_700_006_400_000 - 1_700_006_400_000 % DAY_MS


def block(
    hour: int, mean: float, *, version: str = "m1", status: Status = Status.SCORED, width: int = WIDTH
) -> ScoreBlock:
    """Twenty servers, six observations each, spread over an hour."""
    times = START + hour * HOUR_MS + 600_000 * np.arange(6)
    n = len(times) * len(SERVERS)
    return ScoreBlock(
        servers=SERVERS,
        model_version=version,
        version=1,
        server=np.tile(np.arange(len(SERVERS)), len(times)).astype(np.uint16),
        observed_at=np.repeat(times, len(SERVERS)),
        status=np.full(n, status, dtype=np.uint8),
        score=mean + 0.1 * np.sin(np.arange(n)),
        severity=np.zeros(n, dtype=np.float32),
        features=np.ones((n, width), dtype=np.float32),
    )


@dataclass
class Deployment:
    """Everything both services read and write."""

    blocks_: list[ScoreBlock] = field(default_factory=list)
    windows: list[Control] = field(default_factory=list)
    items: dict[tuple[str, int], Rollup] = field(default_factory=dict)
    done: int | None = None
    retraining: Retraining | None = None
    runs: list[str] = field(default_factory=list)
    running: bool = False
    start_fails: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)

    def groups(self) -> int:
        return 1

    def blocks(self, group: int, start: int, end: int) -> list[ScoreBlock]:
        return [b for b in self.blocks_ if ((b.observed_at >= start) & (b.observed_at < end)).any()]

    def record(self, group: int, version: str) -> None:
        return None

    def opened(self, start: int, end: int) -> int:
        return 3

    def maintenance(self) -> list[Control]:
        return self.windows

    def put(self, rollup: Rollup) -> None:
        self.items[rollup.model_version, rollup.hour] = Rollup.from_json(
            rollup.model_version, rollup.hour, rollup.to_json()
        )

    def read(self, version: str, start: int, end: int) -> list[Rollup]:
        return [r for (v, hour), r in sorted(self.items.items()) if v == version and start <= hour < end]

    def rolled_up_to(self) -> int | None:
        return self.done

    def set_rolled_up_to(self, end: int) -> None:
        self.done = end

    def last(self) -> Retraining | None:
        return self.retraining

    def claim(self, at: int, before: Retraining | None) -> bool:
        if self.retraining != before:
            return False
        self.retraining = Retraining(at=at)
        return True

    def started(self, at: int, run_id: str) -> None:
        self.retraining = Retraining(at=at, run_id=run_id)

    def withdraw(self, at: int, before: Retraining | None) -> None:
        self.retraining = before

    def active(self) -> list[str]:
        return ["of somebody else"] if self.running else []

    def start(self, token: str, parameters: dict[str, str]) -> str:
        if self.start_fails:
            raise RuntimeError("throttled")
        self.runs.append(parameters["Reason"])
        return f"run-{len(self.runs)}"

    def tell(self, step: str, summary: str, details: object) -> None:
        self.told.append((step, summary))

    def fill(self, shift_of, days: int) -> None:
        """Hourly items straight into the table; shifts in the model's sds (mean 1, sd 0.2)."""
        for i in range(24 * days):
            hour = START + i * HOUR_MS
            self.items["m1", hour] = Rollup(
                model_version="m1", hour=hour, count=100, mean=1.0 + 0.2 * shift_of(i), variance=0.04,
                sketch=Sketch({1: 100}), servers=20, features=count_features(np.ones((100, WIDTH))),
            )  # fmt: skip


@pytest.fixture
def deployment():
    return Deployment()


def rollup(deployment: Deployment, now_ms: int):
    service = RollupService(history=deployment, rollups=deployment, package=lambda: package("m1"))
    return service.run(now_ms)


def drift(deployment: Deployment, day: int, *, promotion=None, model=None):
    service = DriftService(
        rollups=deployment, package=lambda: model or package("m1"), maintenance=deployment.maintenance,
        retrainings=deployment, pipeline=deployment, promotion=lambda: promotion, announcer=deployment,
        rules=DriftRules(),
    )  # fmt: skip
    return service.run(START + day * DAY_MS)


def test_an_hour_is_summed_up_by_model(deployment):
    deployment.blocks_ = [block(0, 1.0), block(0, 2.0, version="m2"), block(0, 9.0, status=Status.LATE)]
    outcome = rollup(deployment, START + HOUR_MS + 300_000)
    assert (outcome.hours, outcome.items) == (1, 2)
    item = deployment.items["m1", START]
    assert (item.count, item.servers, item.opened) == (120, 20, 3)
    assert item.mean == pytest.approx(1.0, abs=0.01)
    assert sum(item.sketch.bins.values()) == 120
    assert item.features.sum() == WIDTH * 120


def test_an_hour_in_which_other_rows_came_to_be_made_counts_the_later_ones(deployment):
    """A deployment changes how wide a row is, in the middle of an hour and under the same model."""
    before, after = block(0, 1.0, width=12), block(0, 1.0)
    deployment.blocks_ = [before, replace(after, observed_at=after.observed_at + 1)]
    rollup(deployment, START + HOUR_MS)
    item = deployment.items["m1", START]
    assert item.count == 240
    assert item.features.sum(axis=1).tolist() == [120.0] * WIDTH


def test_rolling_up_again_changes_nothing_and_what_came_late_is_added(deployment):
    deployment.blocks_ = [block(0, 1.0)]
    rollup(deployment, START + HOUR_MS)
    before = deployment.items["m1", START].to_json()
    rollup(deployment, START + HOUR_MS)
    assert deployment.items["m1", START].to_json() == before
    deployment.blocks_.append(replace(block(0, 3.0), observed_at=block(0, 3.0).observed_at + 1))
    rollup(deployment, START + 2 * HOUR_MS)
    assert deployment.items["m1", START].count == 240


def test_missed_hours_are_made_up_for_up_to_three_days(deployment):
    deployment.blocks_ = [block(hour, 1.0) for hour in range(10)]
    rollup(deployment, START + HOUR_MS)
    rollup(deployment, START + 10 * HOUR_MS)
    assert len(deployment.items) == 10
    assert rollup(deployment, START + 500 * HOUR_MS).hours == 72


def window(scope):
    return Control(
        kind=ControlKind.MAINTENANCE,
        id="w",
        scope=scope,
        starts_ms=START,
        until_ms=START + HOUR_MS,
        reason="",
        by="",
        created_ms=START,
    )


def test_a_server_in_maintenance_does_not_count(deployment):
    deployment.blocks_ = [block(0, 1.0)]
    deployment.windows = [window(Scope(server="s03"))]
    rollup(deployment, START + HOUR_MS)
    assert deployment.items["m1", START].servers == 19


@pytest.mark.parametrize(
    ("scope", "servers"), [(Scope(server="s0*"), 10), (Scope(fleet=True), 20), (Scope(labels={"role": "web"}), 20)]
)
def test_a_window_leaves_out_those_it_names_and_no_window_all(deployment, scope, servers):
    """An hour of the fleet's maintenance is drift's to judge, and labels are not known here."""
    deployment.blocks_ = [block(0, 1.0)]
    deployment.windows = [window(scope)]
    rollup(deployment, START + HOUR_MS)
    assert deployment.items["m1", START].servers == servers


def test_a_shift_that_stays_starts_exactly_one_retraining(deployment):
    deployment.fill(lambda i: 3.0 if i >= 24 * 10 else 0.0, days=30)
    outcomes = [drift(deployment, day).evaluation.outcome for day in range(1, 21)]
    assert outcomes.count(DriftOutcome.RETRAIN) == 1
    assert len(deployment.runs) == 1
    assert [step for step, _ in deployment.told].count("retraining") == 1
    assert deployment.retraining.run_id == "run-1"


def test_72_hours_of_anything_start_none(deployment):
    deployment.fill(lambda i: 500.0 if 24 * 10 <= i < 24 * 13 else 0.0, days=30)
    outcomes = {drift(deployment, day).evaluation.outcome for day in range(1, 31)}
    assert outcomes <= {DriftOutcome.STABLE, DriftOutcome.BREACH}
    assert deployment.runs == []


def test_the_same_day_judged_twice_starts_one(deployment):
    deployment.fill(lambda i: 3.0, days=20)
    first, again = drift(deployment, 20), drift(deployment, 20)
    assert first.run_id == "run-1"
    assert again.run_id == ""
    assert len(deployment.runs) == 1


def test_nothing_starts_while_a_run_or_a_promotion_is_under_way(deployment):
    deployment.fill(lambda i: 3.0, days=20)
    deployment.running = True
    assert drift(deployment, 20).evaluation.outcome is DriftOutcome.RETRAINING_RUNS
    deployment.running = False
    from treeline.app.promote.progress import Candidate, Progress

    under_way = Progress(execution="e", candidate=Candidate(model_version="m2", package_key="k"))
    assert drift(deployment, 20, promotion=under_way).evaluation.outcome is DriftOutcome.RETRAINING_RUNS
    assert deployment.runs == []


def test_hours_that_were_counted_in_other_features_do_not_break_the_watch(deployment):
    """Stored by the code before; they still say how the scores were."""
    deployment.fill(lambda i: 3.0, days=20)
    for key, item in sorted(deployment.items.items())[: -24 * 3]:
        deployment.items[key] = replace(item, features=np.ones((12, 10)))
    rows = np.random.default_rng(1).normal(size=(500, WIDTH))
    model = replace(package("m1"), manifest={"reference": reference(np.full(500, 1.0), rows).to_json()})
    report = drift(deployment, 20, model=model)
    assert report.evaluation.outcome is DriftOutcome.RETRAIN
    assert list(report.features) == list(model.features)
    assert min(report.features.values()) > 0.25, "the three days that are left are all ones"


def test_a_run_that_could_not_be_started_is_tried_again_the_next_day(deployment):
    deployment.fill(lambda i: 3.0, days=21)
    deployment.start_fails = True
    with pytest.raises(RuntimeError):
        drift(deployment, 20)
    deployment.start_fails = False
    assert drift(deployment, 21).run_id == "run-1"


def test_the_reference_is_the_trainings_or_what_the_seeds_know():
    assert reference_of(package("m1")).score_mean == pytest.approx(1.0)
    assert reference_of(package("m1")).score_sd == pytest.approx(0.2)
    told = {"reference": {"score_mean": 5.0, "score_sd": 0.5, "features": []}}
    assert reference_of(replace(package("m1"), manifest=told)).score_mean == 5.0
