"""Deploy a cloud assembly with boto3: what `cdk deploy` does, in order and in half a second."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from emulator.deployment.assembly import CloudAssembly, StackTemplate, fill, read_assembly
from emulator.deployment.no_ops import NoOp, find_no_ops
from emulator.deployment.post_deploy import apply_dropped_settings
from emulator.loopback.clients import ClientOf
from emulator.loopback.environment import ACCOUNT_ID, REGION
from treeline.core.errors import TreelineError

_TEMPLATE_BODY_LIMIT = 51_200  # bytes, CloudFormation's own
_BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
_BOOTSTRAP_VERSION = "30"
_STACK_TIMEOUT_S = 120.0
_POLL_S = 0.02


class DeployError(TreelineError):
    """A stack was not deployed; the message names the resource and the reason."""


@dataclass(frozen=True, slots=True)
class DeployReport:
    """What stands after a deploy, and what of it is not real here."""

    outputs: dict[str, dict[str, str]]  # stack name -> output key -> value
    resource_types: dict[str, int]  # type -> how many
    no_ops: list[NoOp]
    actions: dict[str, str]  # stack name -> created, updated, unchanged
    settings: list[str] = field(default_factory=list)  # what was set after the deploy as the template says
    seconds: float = 0.0

    def output(self, key: str) -> str:
        """The one output of that key, whichever stack has it.

        Raises:
            KeyError: None, or several that differ.
        """
        found = {values[key] for values in self.outputs.values() if key in values}
        if len(found) != 1:
            raise KeyError(f"{len(found)} stacks have an output {key}")
        return found.pop()


def deploy(clients: ClientOf, directory: Path, parameters: Mapping[str, str]) -> DeployReport:
    """Upload the assets of the assembly in `directory` and create or update its stacks.

    Raises:
        UsageError: No assembly there.
        DeployError: A stack failed.
    """
    began = time.monotonic()
    assembly = read_assembly(directory)
    _bootstrap(clients)
    _upload(clients, assembly)
    outputs, actions = dict[str, Any](), dict[str, str]()
    types, settings = dict[str, int](), list[str]()
    for stack in assembly.stacks:
        actions[stack.name] = _deploy_stack(clients, stack, parameters)
        outputs[stack.name] = _outputs(clients("cloudformation"), stack.name)
        settings += apply_dropped_settings(clients, stack)
        for kind in (resource["Type"] for resource in stack.resources().values()):
            types[kind] = types.get(kind, 0) + 1
    return DeployReport(
        outputs=outputs,
        resource_types=dict(sorted(types.items())),
        no_ops=find_no_ops(stack.resources() for stack in assembly.stacks),
        actions=actions,
        settings=settings,
        seconds=time.monotonic() - began,
    )


def _bootstrap(clients: ClientOf) -> None:
    clients("ssm").put_parameter(Name=_BOOTSTRAP_PARAMETER, Value=_BOOTSTRAP_VERSION, Type="String", Overwrite=True)


def _upload(clients: ClientOf, assembly: CloudAssembly) -> None:
    s3 = clients("s3")
    for bucket in {asset.bucket for asset in assembly.assets} | {_template_bucket()}:
        s3.create_bucket(Bucket=bucket)
    for asset in assembly.assets:
        s3.put_object(Bucket=asset.bucket, Key=asset.key, Body=asset.content())


def _template_bucket() -> str:
    return f"cdk-hnb659fds-assets-{ACCOUNT_ID}-{REGION}"


def _deploy_stack(clients: ClientOf, stack: StackTemplate, parameters: Mapping[str, str]) -> str:
    cloudformation = clients("cloudformation")
    body = stack.template_path.read_text()
    arguments: dict[str, Any] = {
        "StackName": stack.name,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": _parameters(stack, parameters),
        "Tags": [{"Key": k, "Value": v} for k, v in stack.tags.items()],
    }
    if len(body.encode()) > _TEMPLATE_BODY_LIMIT:
        key = f"templates/{stack.name}.json"
        clients("s3").put_object(Bucket=_template_bucket(), Key=key, Body=body.encode())
        arguments["TemplateURL"] = f"https://s3.{REGION}.amazonaws.com/{_template_bucket()}/{key}"
    else:
        arguments["TemplateBody"] = body
    try:
        if _exists(cloudformation, stack.name):
            cloudformation.update_stack(**arguments)
            action = "updated"
        else:
            cloudformation.create_stack(**arguments)
            action = "created"
    except ClientError as error:
        message = error.response["Error"]["Message"]
        if "No updates are to be performed" in message:
            return "unchanged"
        raise DeployError(f"stack {stack.name} is refused: {message}") from error
    _wait(cloudformation, stack.name)
    return action


def _parameters(stack: StackTemplate, given: Mapping[str, str]) -> list[dict[str, str]]:
    values = {k: fill(v) for k, v in stack.parameters.items()}
    prefix = f"{stack.name}:"
    values |= {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix) or ":" not in k}
    return [{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()]


def _exists(cloudformation: Any, name: str) -> bool:
    try:
        found = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError:
        return False
    if found and found[0]["StackStatus"] in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "REVIEW_IN_PROGRESS"):
        cloudformation.delete_stack(StackName=name)  # as the CDK does: such a stack can only be made anew
        return False
    return bool(found) and found[0]["StackStatus"] != "DELETE_COMPLETE"


def _wait(cloudformation: Any, name: str) -> None:
    deadline = time.monotonic() + _STACK_TIMEOUT_S
    while time.monotonic() < deadline:
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return
        if not status.endswith("_IN_PROGRESS"):
            raise DeployError(f"stack {name} ended as {status}: {_failure(cloudformation, name)}")
        time.sleep(_POLL_S)
    raise DeployError(f"stack {name} is not ready after {_STACK_TIMEOUT_S:.0f} s: {_failure(cloudformation, name)}")


def _failure(cloudformation: Any, name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [e for e in events if e["ResourceStatus"].endswith("_FAILED") and e["LogicalResourceId"] != name]
    # Newest first: the oldest failure is the cause, later ones were cancelled because of it.
    for event in reversed(failed):
        reason = event.get("ResourceStatusReason", "no reason given")
        return f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}"
    return "no resource reports a failure"


def _outputs(cloudformation: Any, name: str) -> dict[str, str]:
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
