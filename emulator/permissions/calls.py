"""Records the AWS calls that functions and state machines make here, for the proof of their permissions.

Switched on by the environment variable TREELINE_RECORD_CALLS, a folder: every process that makes calls as somebody
appends lines to a file of its own there, each once. What the deploys made (physical names of resources) is noted beside
them, so that a name of one run becomes a construct of the templates; tests/infra/permissions.py reads both.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from emulator.loopback.clients import ClientOf
from emulator.permissions.iam_actions import Permission, UnknownCallError, permissions

FOLDER_VARIABLE = "TREELINE_RECORD_CALLS"
# In front of the Lambda worker's script: nothing is imported unless recording is on.
WORKER_HOOK = f"""
def _treeline_record_calls():
    import os
    if os.environ.get("{FOLDER_VARIABLE}"):
        from emulator.permissions import calls
        calls.record_boto3(lambda: "function:" + os.environ["AWS_LAMBDA_FUNCTION_NAME"])

_treeline_record_calls()
"""


class CallLog:
    """Appends what is new to a file of this process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"calls-{os.getpid()}.jsonl"
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def add(self, caller: str, service: str, operation: str, parameters: Mapping[str, Any]) -> None:
        """Note the permissions that this call needs; a call nobody knows is noted as such, and fails the proof."""
        try:
            wanted = list(permissions(service, operation, parameters))
        except UnknownCallError as error:
            wanted = [Permission("unknown", str(error))]
        for needed in wanted:
            line = json.dumps({"caller": caller, **needed._asdict()}, sort_keys=True)
            with self._lock:
                if line in self._seen:
                    continue
                self._seen.add(line)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


def active_log() -> CallLog | None:
    """The log of this process, if recording is on."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return CallLog(Path(folder)) if folder else None


def record_boto3(caller: Callable[[], str]) -> None:
    """Record every call of clients of boto3's default session, from now on, as made by `caller()`."""
    import boto3
    import botocore.session

    log = active_log()
    if log is None:
        return
    session = botocore.session.Session()

    def note(**event: Any) -> None:
        log.add(caller(), event["model"].service_model.service_name, event["model"].name, event["params"])

    session.register("provide-client-params.*.*", note)
    boto3.setup_default_session(botocore_session=session)


_MACHINE: ContextVar[str] = ContextVar("machine", default="")
# What Step Functions calls a service, where boto3 says otherwise.
_STATES_NAMES = {"sagemakerruntime": "sagemaker-runtime", "sfn": "stepfunctions", "states": "stepfunctions"}


def record_state_machines() -> None:
    """Record the calls that state machines make by service integrations; inside the launcher, once."""
    from ministack.services import stepfunctions

    log = active_log()
    if log is None:
        return
    execute, invoke = stepfunctions._execute_task, stepfunctions._invoke_resource

    def executed(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        name = str((execution or {}).get("stateMachineArn", "")).rsplit(":", 1)[-1]
        token = _MACHINE.set(name)
        try:
            return execute(state_def, raw_input, execution, ctx)
        finally:
            _MACHINE.reset(token)

    def invoked(resource: str, input_data: Any) -> Any:
        integration = state_machine_call(resource)
        if integration is not None:
            log.add(f"machine:{_MACHINE.get()}", *integration, input_data)
        elif ":function:" in resource:
            log.add(f"machine:{_MACHINE.get()}", "lambda", "Invoke", {"FunctionName": resource})
        return invoke(resource, input_data)

    stepfunctions._execute_task = executed
    stepfunctions._invoke_resource = invoked


def state_machine_call(resource: str) -> tuple[str, str] | None:
    """Service and operation of a task's resource such as arn:aws:states:::aws-sdk:sagemaker:updateEndpoint."""
    head, _, integration = resource.partition(":states:::")
    if not integration or not head.startswith("arn:"):
        return None
    service, action = integration.removeprefix("aws-sdk:").split(".")[0].split(":")[:2]
    return _STATES_NAMES.get(service, service), action[:1].upper() + action[1:]


def note_resources(client: ClientOf, stacks: Mapping[str, object]) -> None:
    """Note the physical names of what stands in `stacks` (CloudFormation names), if recording is on."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    lines = []
    for stack in stacks:
        for resource in client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]:
            note = {
                "stack": stack,
                "id": resource["LogicalResourceId"],
                "type": resource["ResourceType"],
                "name": resource["PhysicalResourceId"],
            }
            lines.append(json.dumps(note, sort_keys=True) + "\n")
    with (Path(folder) / f"resources-{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(lines)
