"""The learning loop's story: which comes first where two things happen at one midnight."""

import numpy as np
import pytest

from demo.learn import run
from demo.learn.fleet import DAY_MS, DriftingFleet, LearnPlan, last_report
from demo.learn.stopwatch import Stopwatch
from demo.screen import DemoScreen
from training.history.grid import Grid
from treeline.app.promote.progress import Candidate, Progress, PromotionStage

HOUR = 3_600_000
STEP = 600_000


def grid(**silent_from: int) -> Grid:
    """Two servers that report every ten minutes for two days; one may fall silent at a time."""
    times = np.arange(0, 2 * DAY_MS, STEP, dtype=np.int64)
    values = np.ones((len(times), 2, 1), np.float32)
    for column, server in enumerate(("a", "b")):
        values[times >= silent_from.get(server, 2 * DAY_MS), column] = np.nan
    return Grid(times, ("a", "b"), ("cpu_percent",), values, STEP / 1000)


@pytest.mark.parametrize(
    ("servers", "before", "expected"),
    [("a", DAY_MS, DAY_MS - STEP), ("b", DAY_MS, HOUR - STEP), ("ab", DAY_MS, DAY_MS - STEP), ("", DAY_MS, 0)],
)
def test_the_last_report_of_a_canary_is_that_of_its_own_servers(servers: str, before: int, expected: int):
    assert last_report(grid(b=HOUR), servers, before) == expected


class Watch:
    """A canary of server "b" that began with the last observation of the first day."""

    def __init__(self) -> None:
        self.waited_for = list[int]()
        candidate = Candidate(package_arn="p", model_version="m2", package_key="k", model_data_url="u", image="i")
        self.progress = Progress(
            execution="e", candidate=candidate, stage=PromotionStage.CANARY, canary_from=DAY_MS - STEP,
            reference={"b": (1.0, 0.1)},
        )  # fmt: skip

    def promotion(self) -> Progress:
        return self.progress

    def wait_judged(self, last_ms: int) -> None:
        self.waited_for.append(last_ms)


def test_the_last_slice_of_a_canary_is_judged_before_the_drift_check_of_the_same_midnight(monkeypatch):
    """It was judged within a second of wall time, before or after: the day's drift was of either model."""
    watch = Watch()
    monkeypatch.setattr(run, "ModelWatch", lambda deployment: watch)
    fleet = DriftingFleet(past=grid(), live=grid())
    loop = run.Loop(LearnPlan(), None, fleet, DemoScreen(as_json=True), Stopwatch())

    loop._between_chunks(2 * DAY_MS)

    assert watch.waited_for[0] - watch.progress.canary_from == 24 * HOUR
