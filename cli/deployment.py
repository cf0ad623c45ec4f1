"""Which deployment a command works on: a stage in the AWS account the SDK is set up for, or the embedded cloud."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from treeline.app.explain.incident_source import Score
from treeline.aws.alert.controls import ControlTable
from treeline.aws.detect.endpoint import Endpoint
from treeline.aws.detect.models import ModelStore
from treeline.aws.explain.incident_tables import ForestFiles, IncidentRows, IncidentTables
from treeline.aws.promote.promotions import promoted_model
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError, TreelineError, UsageError
from treeline.core.payload import score_rows
from treeline.forest.storage import read_model_tar
from treeline.settings import outputs
from treeline.wiring.incident_tables import tables

LOCAL, LOCAL_PORT = "local", 4566
# Somebody is waiting for the answer, so a cloud that is not there is given up soon.
_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 2})
WHERE = """
A stage is looked up in the account and region the AWS SDK is set up for (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL);
--stage local is the embedded cloud of this machine (`treeline local up`)."""


def stack_outputs(cloudformation: Any, name: str) -> tuple[str, dict[str, str]] | None:
    """Status and outputs of a stack; None where there is no such stack."""
    try:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return stack["StackStatus"], {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}


def stack_output(client: Callable[[str], Any], stage: str, part: str, key: str, profile: str = "") -> str:
    """An output of one of the stage's stacks; raises UsageError when that is not deployed."""
    name = outputs.stack_name(stage, part, profile)
    stack = stack_outputs(client("cloudformation"), name)
    if stack is None:
        raise UsageError(f"there is no stack {name} in this account and region (--stage, --profile, AWS_REGION)")
    if key not in stack[1]:
        raise UsageError(f"stack {name} has no output {key}; deploy this version of Treeline")
    return stack[1][key]


def further_profile(client: Callable[[str], Any], stage: str, profile: str) -> str:
    """The further profile that `--profile` means; empty: the servers', which may be called by its name too."""
    if (
        not profile
        or stack_output(client, stage, outputs.LEARNING, outputs.MODEL_GROUP) == f"treeline-{stage}-{profile}"
    ):
        return ""
    return profile


class DeploymentError(TreelineError):
    """A deployment cannot be reached, or refuses what is asked of it."""


def add_stage(parser: argparse._ActionsContainer, *, json_help: str = "JSON on stdout") -> None:
    """The options that say which deployment is meant."""
    parser.add_argument("--stage", default="dev", metavar="S", help="stage, or local (default: dev)")
    parser.add_argument(
        "--port",
        type=int,
        default=LOCAL_PORT,
        help=f"of the embedded cloud, with --stage local (default: {LOCAL_PORT})",
    )
    parser.add_argument("--json", action="store_true", help=json_help)


def add_profile(parser: argparse._ActionsContainer) -> None:
    """The option that says which profile of the stage is meant."""
    parser.add_argument("--profile", default="", metavar="NAME", help="a further profile (default: the servers')")


@dataclass(frozen=True)
class DeployedStage:
    """A deployed stage: its clients, and its resources by the names of treeline.settings.outputs.

    Attributes:
        stage: Its name.
        session: boto3's.
        arguments: Of every client.
        profile: Whose resources are meant; empty: the servers'.
    """

    stage: str
    session: Any
    arguments: dict[str, Any] = field(default_factory=dict)
    profile: str = ""

    @classmethod
    def of(cls, args: argparse.Namespace) -> "DeployedStage":
        """The one that `add_stage`'s options name."""
        if not 0 < args.port < 65_536:
            raise UsageError(f"--port must be in [1, 65535], got {args.port}")
        profile = getattr(args, "profile", "")
        if args.stage != LOCAL or os.environ.get("AWS_ENDPOINT_URL"):
            return cls(args.stage, boto3.session.Session(), profile=profile)
        session = boto3.session.Session(
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the embedded cloud checks none
            region_name="us-east-1",
        )
        return cls(LOCAL, session, {"endpoint_url": f"http://127.0.0.1:{args.port}"}, profile)

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return self.session.client(service, config=_CONFIG, **self.arguments)

    @cached_property
    def _outputs(self) -> dict[str, str]:
        cloudformation = self.client("cloudformation")
        found: dict[str, str] = {}
        profile = further_profile(self.client, self.stage, self.profile)
        for part in (outputs.STATE, outputs.DETECTION):
            name = outputs.stack_name(self.stage, part, profile)
            stack = stack_outputs(cloudformation, name)
            if stack is None:
                options = "--stage, --profile, AWS_REGION" if profile else "--stage, AWS_REGION"
                raise UsageError(f"stage {self.stage!r} is not deployed here: there is no stack {name} ({options})")
            found |= stack[1]
        return found

    def output(self, key: str) -> str:
        """A resource by its name in treeline.settings.outputs."""
        return self._outputs[key]

    @cached_property
    def controls(self) -> ControlTable:
        """Mutes, maintenance windows and labels."""
        return ControlTable(self.client("dynamodb"), self.output(outputs.CONTROLS_TABLE))

    @cached_property
    def incidents(self) -> IncidentRows:
        """The incidents table."""
        return IncidentRows(self.client("dynamodb"), self.output(outputs.INCIDENTS_TABLE))

    @cached_property
    def source(self) -> IncidentTables:
        """Everything an explanation needs."""
        return tables(self, self.forest)

    def forest(self, model_version: str) -> tuple[Score, str]:
        """A model's forest: the artifact where it is ours, else the endpoint while it hosts that model."""
        s3, dynamodb, controls = self.client("s3"), self.client("dynamodb"), self.output(outputs.CONTROLS_TABLE)
        store = ModelStore(dynamodb, s3, controls_table=controls, bucket=self.output(outputs.MODELS_BUCKET))
        pointer = store.read()
        is_active = pointer is not None and pointer.model_version == model_version
        model = pointer if is_active else promoted_model(dynamodb, controls, model_version)
        files = ForestFiles(self.client("sagemaker"), s3)
        try:
            if model is not None and model.model_data_url:
                data, url = files.at(model.model_data_url)
            else:
                data, url = files.read(model_version, "" if model is None else model.model_name)
            return read_model_tar(data).score, url
        except (ScorerUnavailableError, ModelMismatchError):
            if not is_active or pointer is None or outputs.ENDPOINT_NAME not in self._outputs:
                raise
        name = self.output(outputs.ENDPOINT_NAME)
        endpoint = Endpoint(self.client("sagemaker-runtime"), name, variant=lambda: pointer.target_variant)
        return partial(score_rows, endpoint.score), f"endpoint {name}"


class reaching:  # noqa: N801 - reads as a sentence: `with reaching(deployment):`
    """Turns the SDK's errors into one line."""

    def __init__(self, deployment: DeployedStage) -> None:
        self._deployment = deployment

    def __enter__(self) -> DeployedStage:
        """The deployment."""
        return self._deployment

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise DeploymentError in place of what the SDK raised."""
        if isinstance(error, NoRegionError | NoCredentialsError):
            raise DeploymentError(
                f"stage {self._deployment.stage}: {error} Set AWS_REGION and credentials, or AWS_PROFILE; "
                "--run DIR reads a run instead, where the command has it"
            ) from error
        if isinstance(error, ClientError | BotoCoreError):
            where = self._deployment.arguments.get("endpoint_url", "AWS")
            raise DeploymentError(f"stage {self._deployment.stage} ({where}): {error}") from error
