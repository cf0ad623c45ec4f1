"""The promotion state machine in Amazon States Language: Lambda tasks, waits and choices, nothing else.

Every task is a step of treeline.app.promote.service and answers `next`. What it waits for, and how long, is in the
execution's input, so that one definition serves a day in production and seconds in a test.
"""

from typing import Any

State = dict[str, Any]

START_AT = "Prepare"
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
_ROLL_BACK = "RollBack"


def definition(function_arn: str, *, timeout_s: int) -> dict[str, Any]:
    """The definition; `function_arn` may be a token."""

    def task(step: str, then: str, *, comment: str, catch: bool = True, more: State | None = None) -> State:
        state: State = {
            "Type": "Task",
            "Comment": comment,
            "Resource": function_arn,
            "Parameters": {"step": step, "execution.$": "$$.Execution.Id", **(more or {})},
            "ResultPath": "$.result",
            "Retry": [{"ErrorEquals": _RETRIED, "IntervalSeconds": 2, "MaxAttempts": 5, "BackoffRate": 2.0}],
            "Next": then,
        }
        if catch:
            state["Catch"] = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": _ROLL_BACK}]
        return state

    def choice(default: str, **targets: str) -> State:
        choices = [
            {"Variable": "$.result.next", "StringEquals": answer, "Next": target} for answer, target in targets.items()
        ]
        return {"Type": "Choice", "Choices": choices, "Default": default}

    def wait(path: str, then: str) -> State:
        return {"Type": "Wait", "SecondsPath": path, "Next": then}

    states: dict[str, State] = {
        "Prepare": task("prepare", "Prepared", comment="Is all there, does it fit?", more={"request.$": "$.request"}),
        "Prepared": choice(_ROLL_BACK, host="Host", busy="WaitForTurn", trim="Trim", done="Promoted"),
        "WaitForTurn": wait("$.poll_s", "Prepare"),
        "Host": task("host", "Hosted", comment="Create model and configuration, update the endpoint"),
        "Hosted": choice(_ROLL_BACK, check="WaitForEndpoint", again="WaitToHost"),
        "WaitToHost": wait("$.endpoint_poll_s", "Host"),
        "WaitForEndpoint": wait("$.endpoint_poll_s", "CheckEndpoint"),
        "CheckEndpoint": task("check", "EndpointChecked", comment="Does the endpoint serve both variants?"),
        "EndpointChecked": choice(_ROLL_BACK, ready="StartCanary", waiting="WaitForEndpoint"),
        "StartCanary": task("start_canary", "CanaryStarted", comment="A tenth of the servers"),
        "CanaryStarted": choice(_ROLL_BACK, hold="HoldSlice", cut_over="CutOver"),
        "HoldSlice": wait("$.poll_s", "JudgeSlices"),
        "JudgeSlices": task("judge", "SlicesJudged", comment="Judge the slices that event time has completed"),
        "SlicesJudged": choice(_ROLL_BACK, hold="HoldSlice", cut_over="CutOver"),
        "CutOver": task("cut_over", "Settle", comment="Point detection at the new model"),
        "Settle": wait("$.settle_s", "Trim"),
        "Trim": task("trim", "Trimmed", comment="Remove the old variant"),
        "Trimmed": choice(_ROLL_BACK, check="WaitForTrim", again="WaitToTrim"),
        "WaitToTrim": wait("$.endpoint_poll_s", "Trim"),
        "WaitForTrim": wait("$.endpoint_poll_s", "CheckTrim"),
        "CheckTrim": task("check", "TrimChecked", comment="Is the old variant gone?"),
        "TrimChecked": choice(_ROLL_BACK, ready="Finish", waiting="WaitForTrim"),
        "Finish": task("finish", "Promoted", comment="Autoscaling; forget what is out of use"),
        "Promoted": {"Type": "Succeed"},
        _ROLL_BACK: task(
            "roll_back",
            "RollingBack",
            comment="End the canary, remove the new variant",
            catch=False,
            more={"state.$": "$"},
        ),
        "RollingBack": choice("FinishRollBack", again="WaitForRollBack"),
        "WaitForRollBack": wait("$.endpoint_poll_s", _ROLL_BACK),
        "FinishRollBack": task("finish_roll_back", "RolledBack", comment="Close the books", catch=False),
        "RolledBack": {
            "Type": "Fail",
            "Error": "PromotionRolledBack",
            "Cause": "The model was not promoted, or not completely; the topic of changes says why.",
        },
    }
    return {
        "Comment": "Promotes a model: hosts it beside the champion, watches it on a tenth of the servers, cuts over.",
        "StartAt": START_AT,
        "TimeoutSeconds": timeout_s,
        "States": states,
    }
