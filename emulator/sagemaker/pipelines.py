"""SageMaker Pipelines: definitions are kept as deployed, and executed step by step."""

import json
import logging
import secrets
import string
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from emulator.loopback.clients import ClientOf
from emulator.sagemaker.errors import ServiceError, not_found, validation
from emulator.sagemaker.pipeline_expressions import ExpressionError, Expressions, referred_steps
from emulator.sagemaker.pipeline_steps import StepFailedError, StepRunner, holds
from emulator.sagemaker.s3_urls import bucket_and_key
from emulator.sagemaker.store import Action, Announce, Resource, Store, arn, page, plain_name

EXECUTION_CHANGE = "SageMaker Model Building Pipeline Execution Status Change"
STEP_CHANGE = "SageMaker Model Building Pipeline Execution Step Status Change"
_log = logging.getLogger("treeline.pipelines")
_ID_LETTERS = string.ascii_lowercase + string.digits


@dataclass(slots=True)
class Pipelines:
    """Create, describe, update and delete pipelines; start, watch and stop their executions."""

    store: Store
    call: Callable[[str, Mapping[str, Any]], Resource]  # performs a SageMaker action
    clients: ClientOf
    announce: Announce
    _executions: dict[str, Resource] = field(init=False, default_factory=dict)  # by ARN, in order of start
    _steps: dict[str, list[Resource]] = field(init=False, default_factory=dict)  # by the execution's ARN
    _tokens: dict[tuple[str, str], str] = field(init=False, default_factory=dict)

    def actions(self) -> dict[str, Action]:
        """The API actions served here."""
        return {
            **self.store.reading("PipelineSummaries", "RoleArn", "LastModifiedTime", "LastExecutionTime"),
            "CreatePipeline": self.create,
            "UpdatePipeline": self.update,
            "DeletePipeline": self.delete,
            "StartPipelineExecution": self.start,
            "StopPipelineExecution": self.stop,
            "DescribePipelineExecution": self.describe_execution,
            "ListPipelineExecutions": self.list_executions,
            "ListPipelineExecutionSteps": self.list_steps,
        }

    def create(self, request: Resource) -> Resource:
        """Keep a pipeline; a definition that cannot be executed is refused."""
        name = request["PipelineName"]
        _checked(request.get("PipelineDefinition", ""))
        fields = {"PipelineArn": arn("pipeline", name.lower()), "PipelineStatus": "Active"}
        self.store.create(name, {**request, **fields})
        return {"PipelineArn": fields["PipelineArn"]}

    def update(self, request: Resource) -> Resource:
        """Change a pipeline; executions under way keep the definition they started with."""
        name = plain_name(request["PipelineName"])
        pipeline = self.store.get(name)
        if "PipelineDefinition" in request:
            _checked(request["PipelineDefinition"])
        self.store.change(name, **{k: v for k, v in request.items() if k != "PipelineName"})
        return {"PipelineArn": pipeline["PipelineArn"]}

    def delete(self, request: Resource) -> Resource:
        """Remove a pipeline."""
        return {"PipelineArn": self.store.delete(plain_name(request["PipelineName"]))["PipelineArn"]}

    def start(self, request: Resource) -> Resource:
        """Start an execution; the same token again gives the same one."""
        name = plain_name(request["PipelineName"])
        pipeline = self.store.get(name)
        definition = json.loads(pipeline["PipelineDefinition"])
        parameters = _parameters(definition, request.get("PipelineParameters", []))
        with self.store.lock:
            known = self._tokens.get((name, request["ClientRequestToken"]))
            if known is not None:
                return {"PipelineExecutionArn": known}
            execution_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
            execution_arn = f"{pipeline['PipelineArn']}/execution/{execution_id}"
            self._tokens[name, request["ClientRequestToken"]] = execution_arn
            now = time.time()
            self._executions[execution_arn] = {
                "PipelineArn": pipeline["PipelineArn"],
                "PipelineExecutionArn": execution_arn,
                "PipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName", f"execution-{int(now)}"),
                "PipelineExecutionDescription": request.get("PipelineExecutionDescription", ""),
                "PipelineExecutionStatus": "Executing",
                "CreationTime": now,
                "LastModifiedTime": now,
            }
            self._steps[execution_arn] = []
            self.store.change(name, LastRunTime=now)
        self._tell(execution_arn, "")
        threading.Thread(
            target=self._run,
            args=(execution_arn, execution_id, pipeline, definition, parameters),
            daemon=True,
            name=f"pipeline-{execution_id}",
        ).start()
        return {"PipelineExecutionArn": execution_arn}

    def stop(self, request: Resource) -> Resource:
        """Ask an execution to end; the job of its current step is stopped."""
        execution = self._execution(request["PipelineExecutionArn"])
        if execution["PipelineExecutionStatus"] != "Executing":
            raise ServiceError("ConflictException", "Only executions in progress can be stopped.")
        self._move(execution["PipelineExecutionArn"], "Stopping")
        return {"PipelineExecutionArn": execution["PipelineExecutionArn"]}

    def describe_execution(self, request: Resource) -> Resource:
        """The execution with its state and, after a failure, the reason."""
        return dict(self._execution(request["PipelineExecutionArn"]))

    def list_executions(self, request: Resource) -> Resource:
        """Execution summaries of a pipeline, newest first unless asked otherwise."""
        pipeline_arn = self.store.get(plain_name(request["PipelineName"]))["PipelineArn"]
        with self.store.lock:
            found = [
                {
                    **execution,
                    "StartTime": execution["CreationTime"],
                    **{f"PipelineExecution{f}": execution[f] for f in ("FailureReason",) if f in execution},
                }
                for execution in self._executions.values()
                if execution["PipelineArn"] == pipeline_arn
            ]
        fields = (
            *("PipelineExecutionArn", "PipelineExecutionStatus", "PipelineExecutionDisplayName"),
            *("StartTime", "PipelineExecutionFailureReason"),
        )
        return page(found, request, "PipelineExecutionArn", fields, "PipelineExecutionSummaries")

    def list_steps(self, request: Resource) -> Resource:
        """Steps of an execution that have started, newest first unless asked otherwise."""
        execution_arn = self._execution(request["PipelineExecutionArn"])["PipelineExecutionArn"]
        with self.store.lock:
            steps = [dict(step) for step in self._steps[execution_arn]]
        if request.get("SortOrder", "Descending") == "Descending":
            steps.reverse()
        return {"PipelineExecutionSteps": steps}

    def _execution(self, execution_arn: str) -> Resource:
        with self.store.lock:
            if execution_arn not in self._executions:
                raise not_found("pipeline execution", execution_arn)
            return self._executions[execution_arn]

    def _run(
        self, execution_arn: str, execution_id: str, pipeline: Resource, definition: Resource, parameters: Resource
    ) -> None:
        def stopped() -> bool:
            return bool(self._executions[execution_arn]["PipelineExecutionStatus"] == "Stopping")

        runner = StepRunner(self.call, self.clients, pipeline["RoleArn"], execution_id, stopped)
        properties: dict[str, Resource] = {}
        expressions = Expressions(
            parameters,
            {
                "PipelineName": pipeline["PipelineName"],
                "PipelineArn": pipeline["PipelineArn"],
                "PipelineExecutionId": execution_id,
                "PipelineExecutionArn": execution_arn,
                "StartDateTime": datetime.fromtimestamp(
                    self._executions[execution_arn]["CreationTime"], UTC
                ).isoformat(),
            },
            properties,
            lambda step, name: self._property_file(definition, properties, step, name),
        )
        try:
            self._run_steps(execution_arn, in_order(definition["Steps"]), runner, expressions, properties, stopped)
        except StepFailedError as error:
            if stopped():
                self._move(execution_arn, "Stopped")
            else:
                self._move(execution_arn, "Failed", FailureReason=str(error))
            return
        self._move(execution_arn, "Stopped" if stopped() else "Succeeded")

    def _run_steps(
        self,
        execution_arn: str,
        steps: Iterable[Resource],
        runner: StepRunner,
        expressions: Expressions,
        properties: dict[str, Resource],
        stopped: Callable[[], bool],
    ) -> None:
        for step in steps:
            if stopped():
                return
            entry: Resource = {"StepName": step["Name"], "StepStatus": "Executing", "StartTime": time.time()}
            with self.store.lock:
                self._steps[execution_arn].append(entry)
            self._tell_step(execution_arn, step, entry)
            branch: list[Resource] = []
            try:
                if step["Type"] == "Condition":
                    arguments = step["Arguments"]
                    outcome = holds(expressions.value(arguments["Conditions"]))
                    branch = arguments["IfSteps" if outcome else "ElseSteps"]
                    entry["Metadata"] = {"Condition": {"Outcome": "True" if outcome else "False"}}
                else:
                    properties[step["Name"]], entry["Metadata"] = runner.run(expressions.value(step))
            except Exception as error:
                # Whatever it was: an execution whose thread has died would say Executing for ever.
                if not isinstance(error, (StepFailedError, ExpressionError, ServiceError)):
                    _log.exception("step %s of %s broke off", step["Name"], execution_arn)
                entry |= {"StepStatus": "Failed", "EndTime": time.time(), "FailureReason": str(error)[:1024]}
                if isinstance(error, StepFailedError):
                    entry["Metadata"] = error.metadata
                self._tell_step(execution_arn, step, entry)
                raise StepFailedError(f"Step failure: {step['Name']}: {error}"[:3072]) from error
            entry |= {"StepStatus": "Succeeded", "EndTime": time.time()}
            self._tell_step(execution_arn, step, entry)
            self._run_steps(execution_arn, in_order(branch), runner, expressions, properties, stopped)

    def _property_file(self, definition: Resource, properties: Mapping[str, Resource], step: str, name: str) -> bytes:
        declared = [file for s in definition["Steps"] if s["Name"] == step for file in s.get("PropertyFiles", [])]
        for file in declared:
            if file["PropertyFileName"] == name:
                output = properties[step]["ProcessingOutputConfig"]["Outputs"][file["OutputName"]]
                bucket, prefix = bucket_and_key(output["S3Output"]["S3Uri"])
                key = f"{prefix.rstrip('/')}/{file['FilePath']}"
                content: bytes = self.clients("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
                return content
        raise ExpressionError(f"step {step} declares no property file {name}")

    def _move(self, execution_arn: str, status: str, **values: Any) -> None:
        with self.store.lock:
            execution = self._executions[execution_arn]
            before = execution["PipelineExecutionStatus"]
            execution |= {"PipelineExecutionStatus": status, "LastModifiedTime": time.time(), **values}
        self._tell(execution_arn, before)

    def _tell(self, execution_arn: str, before: str) -> None:
        with self.store.lock:
            execution = dict(self._executions[execution_arn])
        detail = {
            "pipelineExecutionDisplayName": execution["PipelineExecutionDisplayName"],
            "pipelineExecutionDescription": execution["PipelineExecutionDescription"],
            "currentPipelineExecutionStatus": execution["PipelineExecutionStatus"],
            "previousPipelineExecutionStatus": before,
            "executionStartTime": _iso(execution["CreationTime"]),
            "pipelineExecutionArn": execution_arn,
            "pipelineArn": execution["PipelineArn"],
        }
        if execution["PipelineExecutionStatus"] in ("Failed", "Stopped", "Succeeded"):
            detail["executionEndTime"] = _iso(execution["LastModifiedTime"])
        self.announce(EXECUTION_CHANGE, execution_arn, detail)

    def _tell_step(self, execution_arn: str, step: Resource, entry: Resource) -> None:
        detail = {
            "pipelineExecutionArn": execution_arn,
            "pipelineArn": self._executions[execution_arn]["PipelineArn"],
            "stepName": step["Name"],
            "stepType": step["Type"],
            "currentStepStatus": entry["StepStatus"],
            "metadata": entry.get("Metadata", {}),
            "failureReason": entry.get("FailureReason", ""),
        }
        self.announce(STEP_CHANGE, execution_arn, detail)


def in_order(steps: list[Resource]) -> list[Resource]:
    """Steps so that each comes after those it refers to or depends on; raises ServiceError for a circle."""
    names = {step["Name"] for step in steps}
    ordered: list[Resource] = []
    waiting = list(steps)
    while waiting:
        done = {step["Name"] for step in ordered}
        for step in waiting:
            needs = {*referred_steps(step), *step.get("DependsOn", [])} & names - {step["Name"]}
            if needs <= done:
                ordered.append(step)
                waiting.remove(step)
                break
        else:
            raise validation(f"Cycle detected in pipeline definition: {', '.join(s['Name'] for s in waiting)}")
    return ordered


def _checked(text: str) -> None:
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise validation(f"Invalid pipeline definition: {error}") from error
    if not isinstance(definition, dict) or not definition.get("Steps"):
        raise validation("Invalid pipeline definition: Steps is required")
    every = [*definition["Steps"]]
    for step in definition["Steps"]:
        if step.get("Type") == "Condition":
            every += [*step["Arguments"].get("IfSteps", []), *step["Arguments"].get("ElseSteps", [])]
    names = [step.get("Name", "") for step in every]
    if len(set(names)) != len(names) or not all(names):
        raise validation(f"Invalid pipeline definition: step names must be there and unique, got {names}")
    unknown = sorted({name for step in every for name in referred_steps(step)} - set(names))
    if unknown:
        raise validation(f"Invalid pipeline definition: no step is named {unknown[0]}")
    in_order(definition["Steps"])


def _parameters(definition: Resource, given: list[Resource]) -> Resource:
    declared = {p["Name"]: p for p in definition.get("Parameters", [])}
    values = {name: p["DefaultValue"] for name, p in declared.items() if "DefaultValue" in p}
    for parameter in given:
        if parameter["Name"] not in declared:
            raise validation(f"Unknown parameter {parameter['Name']} for this pipeline.")
        values[parameter["Name"]] = _typed(declared[parameter["Name"]], parameter["Value"])
    missing = sorted(set(declared) - set(values))
    if missing:
        raise validation(f"Parameter {missing[0]} is undefined.")
    return values


def _typed(declared: Resource, text: str) -> Any:
    allowed = declared.get("EnumValues")
    if allowed and text not in [str(v) for v in allowed]:
        raise validation(f"Parameter {declared['Name']} must be one of {allowed}, got {text}")
    match declared["Type"]:
        case "Integer":
            return int(text)
        case "Float":
            return float(text)
        case "Boolean":
            return str(text).lower() == "true"
    return text


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
