"""`treeline model`: what was registered, what is in use, and how training runs went."""

import argparse
import json
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cli import promotion
from cli.deployment import add_profile, further_profile, stack_output
from cli.model_evaluation import budget_of, evaluation_of, lines
from treeline.app.learn.training_runs import start_training
from treeline.aws.detect.models import ACTIVE_KEY
from treeline.aws.detect.overrides import OverrideTable
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.learn.registry import ModelRegistry
from treeline.core.errors import TreelineError, UsageError
from treeline.core.times import to_ms
from treeline.settings import outputs

_EXAMPLES = f"""examples:
  treeline model list --stage prod             every registered version, the one in use marked, and its page budget
  treeline model show VERSION --stage prod     one of them: what Evaluate measured, and what a page budget raised
  treeline model runs --stage prod             how the last training runs ended, and why
  treeline model train --stage prod --reason "after the move to new hosts"
  treeline model train --stage prod --until 2026-11-20T00:00:00Z
  treeline model list --stage prod --profile batch          of a further profile; so with every verb
{promotion.EXAMPLES}
Works on the account and region the AWS SDK is set up for (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL).
Exit codes: 0 done, 1 failed or nothing started, 2 wrong use."""
_RUNS_SHOWN = 10


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.description = "The models of a deployment: registered versions, training runs, promotion."
    parser.epilog = _EXAMPLES
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in (
        ("list", "registered versions, newest first"),
        ("show", "one registered version, with its evaluation and page budget"),
        ("runs", "training runs, newest first"),
        ("train", "start a training run, unless one is under way"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        add_deployment(verb)
        if name == "show":
            verb.add_argument("version", metavar="VERSION", help="as `treeline model list` shows it")
        if name == "train":
            verb.add_argument("--reason", default="manual", help="kept with the model (default: manual)")
            verb.add_argument(
                "--until", type=_time, metavar="TIME", help="newest event time to learn from (default: all there is)"
            )
    promotion.register(verbs, add_deployment)


def add_deployment(parser: argparse.ArgumentParser) -> None:
    """The options that say which deployment is meant."""
    parser.add_argument("--stage", default="dev", help="stage (default: dev)")
    add_profile(parser)
    parser.add_argument("--json", action="store_true", help="JSON on stdout")


def run(args: argparse.Namespace, client: Callable[[str], Any] | None = None) -> int:
    """Do what was asked; the SDK's errors become one line."""
    make = client or cast("Callable[[str], Any]", boto3.session.Session().client)

    try:
        profile = further_profile(make, args.stage, args.profile)

        def output(part: str, key: str) -> str:
            return stack_output(make, args.stage, part, key, profile)

        match args.verb:
            case "list":
                return _list(args, make, output)
            case "show":
                return _show(args, make, output)
            case "runs":
                return _runs(args, make, output(outputs.LEARNING, outputs.PIPELINE_NAME))
            case "train":
                return _train(args, make, output)
            case "promote":
                return promotion.promote_model(args, make, output)
            case "rollback":
                return promotion.roll_back(args, make, output)
    except (ClientError, BotoCoreError) as error:
        raise TreelineError(f"stage {args.stage}: {error}") from error
    raise UsageError(f"no verb {args.verb!r}")


def _list(args: argparse.Namespace, client: Callable[[str], Any], output: Callable[[str, str], str]) -> int:
    group = output(outputs.LEARNING, outputs.MODEL_GROUP)
    models = list(ModelRegistry(client("sagemaker"), group).models())
    active = active_version(client, output(outputs.STATE, outputs.CONTROLS_TABLE))
    artifacts = ModelArtifacts(client("s3"), output(outputs.STATE, outputs.MODELS_BUCKET))
    evaluations = [evaluation_of(model, artifacts) for model in models]
    if args.json:
        told = [
            {
                **asdict(model),
                "is_active": model.model_version == active,
                "page_budget": (found or {}).get("page_budget"),
            }
            for model, found in zip(models, evaluations, strict=True)
        ]
        print(json.dumps(told, indent=1))
        return 0
    if not models:
        print(f"{group} has no registered model yet")
    for model, found in zip(models, evaluations, strict=True):
        mark = "*" if model.model_version == active else " "
        print(
            f"{mark} {model.number:>4}  {model.model_version:<40} {model.approval:<22} {model.created_at[:16]}  "
            f"{model.reason} ({budget_of(found)})"
        )
    return 0


def _show(args: argparse.Namespace, client: Callable[[str], Any], output: Callable[[str, str], str]) -> int:
    model = ModelRegistry(client("sagemaker"), output(outputs.LEARNING, outputs.MODEL_GROUP)).find(args.version)
    if model is None:
        raise UsageError(f"no model {args.version!r} in the registry; `treeline model list` shows what there is")
    is_active = model.model_version == active_version(client, output(outputs.STATE, outputs.CONTROLS_TABLE))
    artifacts = ModelArtifacts(client("s3"), output(outputs.STATE, outputs.MODELS_BUCKET))
    evaluation = evaluation_of(model, artifacts)
    if args.json:
        print(json.dumps({**asdict(model), "is_active": is_active, "evaluation": evaluation}, indent=1))
        return 0
    print(*lines(model, evaluation, is_active=is_active), sep="\n")
    return 0


def active_version(client: Callable[[str], Any], table: str) -> str | None:
    """The version that detect uses, by the table of controls; None before the first."""
    item = client("dynamodb").get_item(TableName=table, Key=ACTIVE_KEY).get("Item")
    return None if item is None else str(item["model_version"]["S"])


def _runs(args: argparse.Namespace, client: Callable[[str], Any], name: str) -> int:
    sagemaker = client("sagemaker")
    pipeline = SageMakerTrainingPipeline(sagemaker, name)
    answer = sagemaker.list_pipeline_executions(PipelineName=name, MaxResults=_RUNS_SHOWN)
    runs = [pipeline.describe(summary["PipelineExecutionArn"]) for summary in answer["PipelineExecutionSummaries"]]
    if args.json:
        told = [
            {"run": run.run_id, "status": run.status, "failure": run.failure, "registered": run.registered}
            for run in runs
        ]
        print(json.dumps(told, indent=1))
        return 0
    if not runs:
        print(f"{name} has not run yet")
    for one in runs:
        reached = one.steps[-1][0] if one.steps else "-"
        print(f"{one.run_id.rsplit('/', 1)[-1]}  {one.status:<10} {reached:<9} {one.failure or one.registered}")
    return 0


def _train(args: argparse.Namespace, client: Callable[[str], Any], output: Callable[[str, str], str]) -> int:
    pipeline = SageMakerTrainingPipeline(client("sagemaker"), output(outputs.LEARNING, outputs.PIPELINE_NAME))
    overrides = OverrideTable(client("dynamodb"), output(outputs.STATE, outputs.CONTROLS_TABLE))
    until_ms = None if args.until is None else to_ms(args.until)
    started = start_training(
        pipeline, reason=args.reason, window_end_ms=until_ms, request_id=uuid.uuid4().hex, override=overrides.current()
    )
    if args.json:
        print(json.dumps({"run": started.run_id, "is_new": started.is_new}))
    else:
        print(f"started {started.run_id}" if started.is_new else f"{started.run_id} is under way; nothing started")
    return 0 if started.is_new else 1


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-11-20T00:00:00Z, got {text!r}") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"expected a time with its zone, such as {text}Z")
    return moment
