"""The promotion's steps, what each may answer, and where every answer leads.

The deployed state machine (stacks/workflows/promotion.py) is made from this table, and the types of the service's steps
are held against it, so neither can know an answer that the other does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar


class Step(StrEnum):
    """A method of PromotionService, run by one Lambda invocation."""

    PREPARE = "prepare"
    HOST = "host"
    CHECK = "check"
    START_CANARY = "start_canary"
    JUDGE = "judge"
    CUT_OVER = "cut_over"
    TRIM = "trim"
    FINISH = "finish"
    ROLL_BACK = "roll_back"
    FINISH_ROLL_BACK = "finish_roll_back"


class Answer(StrEnum):
    """What a step answers; the same word may lead elsewhere after another step."""

    HOST = "host"
    BUSY = "busy"
    TRIM = "trim"
    DONE = "done"
    CHECK = "check"
    AGAIN = "again"
    READY = "ready"
    WAITING = "waiting"
    HOLD = "hold"
    CUT_OVER = "cut_over"
    ROLL_BACK = "roll_back"
    FINISH_ROLL_BACK = "finish_roll_back"
    ROLLED_BACK = "rolled_back"


_A_co = TypeVar("_A_co", bound=Answer, covariant=True)


@dataclass(frozen=True, slots=True)
class Reply(Generic[_A_co]):
    """An answer with what belongs to it; a step's return type lists the answers it may give."""

    answer: _A_co
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the state machine reads it."""
        return {"next": self.answer.value, **self.details}


class StateName(StrEnum):
    """The states an answer can lead to: tasks, waits before a task, and the two ends."""

    PREPARE = "Prepare"
    WAIT_FOR_TURN = "WaitForTurn"
    HOST = "Host"
    WAIT_TO_HOST = "WaitToHost"
    WAIT_FOR_ENDPOINT = "WaitForEndpoint"
    CHECK_ENDPOINT = "CheckEndpoint"
    START_CANARY = "StartCanary"
    HOLD_SLICE = "HoldSlice"
    JUDGE_SLICES = "JudgeSlices"
    CUT_OVER = "CutOver"
    SETTLE = "Settle"
    TRIM = "Trim"
    WAIT_TO_TRIM = "WaitToTrim"
    WAIT_FOR_TRIM = "WaitForTrim"
    CHECK_TRIM = "CheckTrim"
    FINISH = "Finish"
    PROMOTED = "Promoted"
    ROLL_BACK = "RollBack"
    WAIT_FOR_ROLL_BACK = "WaitForRollBack"
    FINISH_ROLL_BACK = "FinishRollBack"
    ROLLED_BACK = "RolledBack"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitTimes:
    """How long the waits are, in seconds; part of an execution's input, so that a test can be fast."""

    poll_s: int = 300
    endpoint_poll_s: int = 30
    settle_s: int = 300


@dataclass(frozen=True, slots=True)
class Wait:
    """A state that waits for a field of `WaitTimes`, then goes on."""

    pace: str
    then: StateName


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A state that runs a step."""

    step: Step
    comment: str  # what it does, for people who look at the state machine
    answers: Mapping[Answer, StateName]  # where each answer leads
    choice: str = ""  # the name of the state that looks at the answer; empty where there is only one
    # Where an error of the step leads; None: the execution fails with it.
    on_error: StateName | None = StateName.ROLL_BACK

    @property
    def otherwise(self) -> StateName:
        """Where an unknown answer leads: that of a newer function, in an execution of the state machine before it.

        It leads where an error would, else where the last answer does; a roll-back names that answer as its reason.
        """
        return self.on_error or list(self.answers.values())[-1]


START = StateName.PREPARE

TASKS: Mapping[StateName, Task] = {
    StateName.PREPARE: Task(
        step=Step.PREPARE,
        comment="Is all there, does it fit?",
        choice="Prepared",
        answers={
            Answer.HOST: StateName.HOST,
            Answer.BUSY: StateName.WAIT_FOR_TURN,
            Answer.TRIM: StateName.TRIM,
            Answer.DONE: StateName.PROMOTED,
            Answer.ROLL_BACK: StateName.ROLL_BACK,
        },
    ),
    StateName.HOST: Task(
        step=Step.HOST,
        comment="Create model and configuration, update the endpoint",
        choice="Hosted",
        answers={Answer.CHECK: StateName.WAIT_FOR_ENDPOINT, Answer.AGAIN: StateName.WAIT_TO_HOST},
    ),
    StateName.CHECK_ENDPOINT: Task(
        step=Step.CHECK,
        comment="Does the endpoint serve both variants?",
        choice="EndpointChecked",
        answers={
            Answer.READY: StateName.START_CANARY,
            Answer.WAITING: StateName.WAIT_FOR_ENDPOINT,
            Answer.ROLL_BACK: StateName.ROLL_BACK,
        },
    ),
    StateName.START_CANARY: Task(
        step=Step.START_CANARY,
        comment="A tenth of the servers",
        choice="CanaryStarted",
        answers={Answer.HOLD: StateName.HOLD_SLICE, Answer.CUT_OVER: StateName.CUT_OVER},
    ),
    StateName.JUDGE_SLICES: Task(
        step=Step.JUDGE,
        comment="Judge the slices that event time has completed",
        choice="SlicesJudged",
        answers={
            Answer.HOLD: StateName.HOLD_SLICE,
            Answer.CUT_OVER: StateName.CUT_OVER,
            Answer.ROLL_BACK: StateName.ROLL_BACK,
        },
    ),
    StateName.CUT_OVER: Task(
        step=Step.CUT_OVER, comment="Point detection at the new model", answers={Answer.TRIM: StateName.SETTLE}
    ),
    StateName.TRIM: Task(
        step=Step.TRIM,
        comment="Remove the old variant",
        choice="Trimmed",
        answers={Answer.CHECK: StateName.WAIT_FOR_TRIM, Answer.AGAIN: StateName.WAIT_TO_TRIM},
    ),
    StateName.CHECK_TRIM: Task(
        step=Step.CHECK,
        comment="Is the old variant gone?",
        choice="TrimChecked",
        answers={
            Answer.READY: StateName.FINISH,
            Answer.WAITING: StateName.WAIT_FOR_TRIM,
            Answer.ROLL_BACK: StateName.ROLL_BACK,
        },
    ),
    StateName.FINISH: Task(
        step=Step.FINISH, comment="Autoscaling; forget what is out of use", answers={Answer.DONE: StateName.PROMOTED}
    ),
    StateName.ROLL_BACK: Task(
        step=Step.ROLL_BACK,
        comment="End the canary, remove the new variant",
        choice="RollingBack",
        answers={Answer.AGAIN: StateName.WAIT_FOR_ROLL_BACK, Answer.FINISH_ROLL_BACK: StateName.FINISH_ROLL_BACK},
        on_error=None,
    ),
    StateName.FINISH_ROLL_BACK: Task(
        step=Step.FINISH_ROLL_BACK,
        comment="Close the books",
        answers={Answer.ROLLED_BACK: StateName.ROLLED_BACK},
        on_error=None,
    ),
}

WAITS: Mapping[StateName, Wait] = {
    StateName.WAIT_FOR_TURN: Wait("poll_s", StateName.PREPARE),
    StateName.WAIT_TO_HOST: Wait("endpoint_poll_s", StateName.HOST),
    StateName.WAIT_FOR_ENDPOINT: Wait("endpoint_poll_s", StateName.CHECK_ENDPOINT),
    StateName.HOLD_SLICE: Wait("poll_s", StateName.JUDGE_SLICES),
    StateName.SETTLE: Wait("settle_s", StateName.TRIM),
    StateName.WAIT_TO_TRIM: Wait("endpoint_poll_s", StateName.TRIM),
    StateName.WAIT_FOR_TRIM: Wait("endpoint_poll_s", StateName.CHECK_TRIM),
    StateName.WAIT_FOR_ROLL_BACK: Wait("endpoint_poll_s", StateName.ROLL_BACK),
}
