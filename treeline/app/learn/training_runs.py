"""Training runs: starting one unless one is under way, and telling how one ended."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from treeline.app.detect.override import Override
from treeline.core.times import iso

LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One execution of the training pipeline; `failure` is empty unless it failed."""

    run_id: str  # the execution's ARN
    status: str  # Executing, Stopping, Stopped, Failed, Succeeded
    failure: str = ""
    steps: Sequence[tuple[str, str, str]] = field(default=())  # name, status, failure; in order of start
    registered: str = ""  # ARN of the model package, where one came of it

    @property
    def is_active(self) -> bool:
        """Whether it may still register a model."""
        return self.status in ("Executing", "Stopping")


class TrainingPipeline(Protocol):
    """The deployed pipeline."""

    def active(self) -> list[str]:
        """Ids of the runs under way, oldest first."""

    def start(self, token: str, parameters: dict[str, str]) -> str:
        """Start a run; the same token gives the same run. Returns its id."""

    def stop(self, run_id: str) -> None:
        """End a run."""

    def describe(self, run_id: str) -> TrainingRun:
        """A run with its steps."""


@dataclass(frozen=True, slots=True)
class Started:
    """What came of a request for training: `is_new` is False when a run was under way already, which `run_id` names."""

    run_id: str
    is_new: bool


def start_training(
    pipeline: TrainingPipeline,
    *,
    reason: str,
    window_end_ms: int | None,
    request_id: str,
    override: Override | None = None,
) -> Started:
    """Start a training run, unless one is under way: two at once would race for the promotion.

    Safe to repeat: the same request gives the same run. Of two that start at the same instant the later one stops
    itself.

    Args:
        pipeline: Where runs are started.
        reason: Why, for the registry and the people who read it.
        window_end_ms: Event time up to which the model may learn; None for all there is.
        request_id: Names this request; a repetition carries the same.
        override: Its forest settings and its policy count instead of the stage's; None: there is none.
    """
    under_way = pipeline.active()
    if under_way:
        return Started(under_way[0], is_new=False)
    window_end = LATEST if window_end_ms is None else iso(window_end_ms)
    token = hashlib.sha256(request_id.encode()).hexdigest()
    overridden = {} if override is None else override.training_parameters()
    run_id = pipeline.start(token, {"Reason": reason, "WindowEnd": window_end, **overridden})
    first = next(iter(pipeline.active()), run_id)
    if first != run_id:
        pipeline.stop(run_id)
        return Started(first, is_new=False)
    return Started(run_id, is_new=True)


def message(run: TrainingRun, *, stage: str, runbook_url: str) -> dict[str, Any]:
    """The message to the operations topic about the end of a run."""
    failed = [{"step": name, "failure": failure} for name, status, failure in run.steps if status == "Failed"]
    body: dict[str, Any] = {
        "schema_version": 1,
        "event": f"training_{run.status.lower()}",
        "stage": stage,
        "run": run.run_id,
        "why": run.failure or (f"registered {run.registered}" if run.registered else "no model was registered"),
        "failed_steps": failed,
    }
    if run.status == "Failed":
        body["runbook_url"] = runbook_url
    return body
