"""`treeline model promote | rollback`: by hand what the approval of a model starts by itself."""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from treeline.app.promote.approval import execution_name, request_for
from treeline.app.promote.protocol import WaitTimes
from treeline.aws.detect.models import ModelStore
from treeline.aws.learn.registry import ModelRegistry
from treeline.aws.promote.promotions import CandidateModels
from treeline.aws.promote.workflow import PromotionWorkflow
from treeline.core.errors import UsageError
from treeline.settings import outputs
from treeline.settings.promotion import ApprovalSettings

EXAMPLES = """  treeline model promote VERSION --stage prod          approve it, or promote it once more
  treeline model promote VERSION --stage prod --hold 0  at once, without a canary
  treeline model rollback --stage prod                 end the canary; without one, back to the model before
"""
_PROMOTE = "Approve a registered model, which starts its promotion; where it is approved already, start it once more."
_ROLL_BACK = "End the canary under way; without one, put the model before back, at once and without a canary."
Client = Callable[[str], Any]  # boto3 clients by service
Output = Callable[[str, str], str]  # a stack output by part and key
Clock = Callable[[], float]  # epoch seconds


def register(verbs: Any, add_deployment: Callable[[argparse.ArgumentParser], None]) -> None:
    """Declare the sub-commands."""
    promote = verbs.add_parser("promote", help="let a registered model decide", description=_PROMOTE)
    promote.add_argument("version", metavar="VERSION", help="as `treeline model list` shows it")
    promote.add_argument("--hold", type=_hours, metavar="HOURS", help="length of the canary (default: the stage's)")
    rollback = verbs.add_parser("rollback", help="take the last change back", description=_ROLL_BACK)
    rollback.add_argument("--to", metavar="VERSION", help="a model promoted before (default: the one before)")
    for parser in (promote, rollback):
        add_deployment(parser)


def promote_model(args: argparse.Namespace, client: Client, output: Output, now_s: Clock = time.time) -> int:
    """Approve a registered model, which starts its promotion; where it is approved already, start it once more.

    `args.hold` is in seconds or None; `now_s` tells attempts apart.
    """
    model = _registry(client, output).find(args.version)
    if model is None:
        raise UsageError(f"no model {args.version!r} in the registry; `treeline model list` shows what there is")
    if model.approval != "Approved" and args.hold is None:
        _registry(client, output).approve(model.arn, "treeline model promote")
        return _say(args, f"approved {args.version}; its promotion starts", approved=model.arn)
    name = execution_name(model.arn, int(now_s()))
    request = request_for(_pace(client, output), package_arn=model.arn, hold_s=args.hold)
    execution = _workflow(client, output).start(name, request)
    return _say(args, f"promotion of {args.version} started: {name}", execution=execution)


def roll_back(args: argparse.Namespace, client: Client, output: Output, now_s: Clock = time.time) -> int:
    """End the canary under way; without one, put the model before back, at once and without a canary.

    `args.to` is a version or None; `now_s` tells attempts apart.
    """
    dynamodb, table = client("dynamodb"), output(outputs.STATE, outputs.CONTROLS_TABLE)
    bucket = output(outputs.STATE, outputs.MODELS_BUCKET)
    models = ModelStore(dynamodb, client("s3"), controls_table=table, bucket=bucket)
    pointer = models.read()
    canary = models.canary
    if canary is not None and args.to is None:
        models.end_canary()
        ended = canary.model_version
        return _say(args, f"canary of {ended} ended; the workflow removes it", ended=ended)
    wanted = args.to or (pointer.previous_version if pointer else "")
    if not wanted:
        raise UsageError("there is no model before the active one")
    CandidateModels(dynamodb, _registry(client, output), table=table).known(wanted)
    name = execution_name(f"rollback:{wanted}", int(now_s()))
    request = request_for(_pace(client, output), model_version=wanted, hold_s=0)
    execution = _workflow(client, output).start(name, request)
    return _say(args, f"going back to {wanted}: {name}", execution=execution)


def _registry(client: Client, output: Output) -> ModelRegistry:
    return ModelRegistry(client("sagemaker"), output(outputs.LEARNING, outputs.MODEL_GROUP))


def _workflow(client: Client, output: Output) -> PromotionWorkflow:
    return PromotionWorkflow(client("stepfunctions"), output(outputs.LEARNING, outputs.PROMOTION_ARN))


def _pace(client: Client, output: Output) -> WaitTimes:
    """How often the stage's own promotions look: as its approval function is set up."""
    answer = client("lambda").get_function_configuration(
        FunctionName=output(outputs.LEARNING, outputs.APPROVAL_FUNCTION)
    )
    settings = ApprovalSettings.from_env(answer["Environment"]["Variables"])
    return WaitTimes(poll_s=settings.poll_s, endpoint_poll_s=settings.endpoint_poll_s, settle_s=settings.settle_s)


def _say(args: argparse.Namespace, text: str, **facts: Any) -> int:
    print(json.dumps(facts) if args.json else text)
    return 0


def _hours(text: str) -> int:
    """Hours as seconds."""
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0.0 <= hours <= 720.0:
        raise argparse.ArgumentTypeError(f"expected hours from 0 to 720, got {text!r}")
    return round(hours * 3600)
