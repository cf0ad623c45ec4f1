"""At most one training run at a time, and a message that says how it ended."""

import pytest

from treeline.app.learn.training_runs import TrainingRun, message, start_training
from treeline.core.times import parse_iso

NOON = parse_iso("2026-11-22T12:00:00Z")


class Pipeline:
    """Runs by token; `rivals` start in the same instant as ours, before it."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.by_token: dict[str, str] = {}
        self.parameters: list[dict[str, str]] = []
        self.stopped: list[str] = []
        self.rivals: list[str] = []

    def active(self) -> list[str]:
        return list(self.running)

    def start(self, token: str, parameters: dict[str, str]) -> str:
        if token not in self.by_token:
            self.by_token[token] = f"run-{len(self.by_token)}"
            self.parameters.append(parameters)
            self.running += [*self.rivals, self.by_token[token]]
        return self.by_token[token]

    def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)


@pytest.fixture
def pipeline():
    return Pipeline()


def test_a_run_is_told_why_and_up_to_which_event_time_it_may_learn(pipeline):
    started = start_training(pipeline, reason="drift", window_end_ms=NOON, request_id="a")
    assert started.is_new
    assert pipeline.parameters == [{"Reason": "drift", "WindowEnd": "2026-11-22T12:00:00.000Z"}]


def test_without_an_end_it_learns_from_all_there_is(pipeline):
    start_training(pipeline, reason="manual", window_end_ms=None, request_id="a")
    assert pipeline.parameters[0]["WindowEnd"] == "latest"


def test_while_one_runs_another_request_gets_that_one(pipeline):
    first = start_training(pipeline, reason="drift", window_end_ms=NOON, request_id="a")
    second = start_training(pipeline, reason="schedule", window_end_ms=None, request_id="b")
    assert (second.run_id, second.is_new) == (first.run_id, False)
    assert len(pipeline.by_token) == 1


def test_a_repeated_request_after_the_run_has_ended_starts_no_other(pipeline):
    first = start_training(pipeline, reason="drift", window_end_ms=NOON, request_id="a")
    pipeline.running.clear()
    assert start_training(pipeline, reason="drift", window_end_ms=NOON, request_id="a").run_id == first.run_id
    assert len(pipeline.by_token) == 1


def test_of_two_started_in_the_same_instant_the_later_stops_itself(pipeline):
    pipeline.rivals = ["rival"]
    started = start_training(pipeline, reason="drift", window_end_ms=NOON, request_id="a")
    assert (started.run_id, started.is_new) == ("rival", False)
    assert pipeline.stopped == ["run-0"]


def test_a_failed_run_says_why_and_at_which_step():
    run = TrainingRun(
        run_id="arn",
        status="Failed",
        failure="no capacity",
        steps=[("Prepare", "Succeeded", ""), ("Train", "Failed", "x")],
    )
    body = message(run, stage="prod", runbook_url="page")
    assert (body["event"], body["why"], body["runbook_url"]) == ("training_failed", "no capacity", "page")
    assert body["failed_steps"] == [{"step": "Train", "failure": "x"}]


def test_a_run_that_went_well_names_the_registered_model():
    body = message(TrainingRun(run_id="arn", status="Succeeded", registered="model/3"), stage="prod", runbook_url="p")
    assert body["why"] == "registered model/3"
    assert "runbook_url" not in body
