"""The promotion state machine in Amazon States Language, made from treeline.app.promote.protocol."""

from typing import Any

from treeline.app.promote.protocol import START, TASKS, WAITS, StateName, Step, Task, Wait

# The service was busy, or we lost a race: worth trying again. What the steps refuse on purpose is not.
_RETRIED = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "ClientError",
    "EndpointConnectionError",
    "ReadTimeoutError",
    "StateConflictError",
]
# What a step gets besides its name and the execution's.
_INPUT = {Step.PREPARE: {"request.$": "$.request"}, Step.ROLL_BACK: {"state.$": "$"}}


def definition(function_arn: str, *, timeout_s: int) -> dict[str, Any]:
    """The definition; `function_arn` may be a token."""
    states: dict[str, Any] = {}
    for name, task in TASKS.items():
        states[name] = _task(task, function_arn)
        if task.choice:
            states[task.choice] = _choice(task)
    states |= {name: _wait(wait) for name, wait in WAITS.items()}
    states[StateName.PROMOTED] = {"Type": "Succeed"}
    states[StateName.ROLLED_BACK] = {
        "Type": "Fail",
        "Error": "PromotionRolledBack",
        "Cause": "The model was not promoted, or not completely; the topic of changes says why.",
    }
    return {
        "Comment": "Promotes a model: hosts it beside the champion, watches it on a tenth of the servers, cuts over.",
        "StartAt": START,
        "TimeoutSeconds": timeout_s,
        "States": states,
    }


def _task(task: Task, function_arn: str) -> dict[str, Any]:
    state: dict[str, Any] = {
        "Type": "Task",
        "Comment": task.comment,
        "Resource": function_arn,
        "Parameters": {"step": task.step, "execution.$": "$$.Execution.Id", **_INPUT.get(task.step, {})},
        "ResultPath": "$.result",
        "Retry": [{"ErrorEquals": _RETRIED, "IntervalSeconds": 2, "MaxAttempts": 5, "BackoffRate": 2.0}],
        "Next": task.choice or next(iter(task.answers.values())),
    }
    if task.on_error is not None:
        state["Catch"] = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": task.on_error}]
    return state


def _choice(task: Task) -> dict[str, Any]:
    choices = [
        {"Variable": "$.result.next", "StringEquals": answer, "Next": target}
        for answer, target in task.answers.items()
        if target is not task.otherwise
    ]
    return {"Type": "Choice", "Choices": choices, "Default": task.otherwise}


def _wait(wait: Wait) -> dict[str, Any]:
    return {"Type": "Wait", "SecondsPath": f"$.{wait.pace}", "Next": wait.then}
