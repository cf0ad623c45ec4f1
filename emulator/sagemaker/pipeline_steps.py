"""The step types of a pipeline: each starts what its type says, waits for it, and gives its properties."""

import json
import operator
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.loopback.clients import ClientOf
from emulator.sagemaker.store import Resource

Call = Callable[[str, Mapping[str, Any]], Resource]
_POLL_S = 0.05
_EQUALITIES: dict[str, Callable[[Any, Any], Any]] = {"Equals": operator.eq, "NotEquals": operator.ne}
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


class StepFailedError(Exception):
    """A step ended otherwise than well; `metadata` names the job behind it."""

    def __init__(self, reason: str, metadata: Resource | None = None) -> None:
        super().__init__(reason)
        self.metadata = metadata or {}


@dataclass(frozen=True, slots=True)
class StepRunner:
    """Runs the steps of one execution."""

    call: Call  # performs a SageMaker action
    clients: ClientOf
    role_arn: str  # the pipeline's, which the jobs of steps without one of their own get
    execution_id: str  # names the jobs
    stopped: Callable[[], bool]  # whether the execution shall end

    def run(self, step: Resource) -> tuple[Resource, Resource]:
        """Run a step whose expressions are resolved; its properties and its metadata.

        Raises:
            StepFailedError: It failed, or its type is not served here.
        """
        kind = step["Type"]
        types = {
            "Processing": self._processing,
            "Training": self._training,
            "RegisterModel": self._register_model,
            "Lambda": self._lambda,
            "Fail": self._fail,
        }
        if kind not in types:
            known = ", ".join(sorted([*types, "Condition"]))
            raise StepFailedError(f"step type {kind} is not executed by the embedded cloud; there are {known}")
        return types[kind](step["Name"], step)

    def _job_name(self, step_name: str) -> str:
        return f"pipelines-{self.execution_id}-{step_name}"

    def _processing(self, name: str, step: Resource) -> tuple[Resource, Resource]:
        job = self._job_name(name)
        request = {"RoleArn": self.role_arn, **step["Arguments"], "ProcessingJobName": job}
        metadata = {"ProcessingJob": {"Arn": self.call("CreateProcessingJob", request)["ProcessingJobArn"]}}
        done = self._wait("Processing", job, metadata)
        outputs = done.get("ProcessingOutputConfig", {}).get("Outputs", [])
        by_name = {output["OutputName"]: output for output in outputs}
        return {**done, "ProcessingOutputConfig": {"Outputs": by_name}}, metadata

    def _training(self, name: str, step: Resource) -> tuple[Resource, Resource]:
        job = self._job_name(name)
        request = {"RoleArn": self.role_arn, **step["Arguments"], "TrainingJobName": job}
        metadata = {"TrainingJob": {"Arn": self.call("CreateTrainingJob", request)["TrainingJobArn"]}}
        return self._wait("Training", job, metadata), metadata

    def _wait(self, kind: str, name: str, metadata: Resource) -> Resource:
        stopping = False
        while True:
            job = self.call(f"Describe{kind}Job", {f"{kind}JobName": name})
            status = job[f"{kind}JobStatus"]
            if status == "Completed":
                return job
            if status in ("Failed", "Stopped"):
                said = ": ".join(filter(None, (job.get("FailureReason"), job.get("ExitMessage")))) or status
                raise StepFailedError(said, metadata)
            if self.stopped() and not stopping and status == "InProgress":
                self.call(f"Stop{kind}Job", {f"{kind}JobName": name})
                stopping = True
            time.sleep(_POLL_S)

    def _register_model(self, name: str, step: Resource) -> tuple[Resource, Resource]:
        request = {**step["Arguments"], "ClientToken": f"{self.execution_id}-{name}"}
        package_arn = self.call("CreateModelPackage", request)["ModelPackageArn"]
        properties = self.call("DescribeModelPackage", {"ModelPackageName": package_arn})
        return properties, {"RegisterModel": {"Arn": package_arn}}

    def _lambda(self, name: str, step: Resource) -> tuple[Resource, Resource]:
        payload = json.dumps(step.get("Arguments", {})).encode()
        answer = self.clients("lambda").invoke(FunctionName=step["FunctionArn"], Payload=payload)
        body = json.loads(answer["Payload"].read() or b"null")
        outputs = {}
        metadata = {"Lambda": {"Arn": step["FunctionArn"], "OutputParameters": []}}
        if answer.get("FunctionError"):
            said = body.get("errorMessage", body) if isinstance(body, dict) else body
            raise StepFailedError(f"ClientError: The Lambda function failed: {said}", metadata)
        for output in step.get("OutputParameters", []):
            if not isinstance(body, dict) or output["OutputName"] not in body:
                raise StepFailedError(f"ClientError: The Lambda function gave no {output['OutputName']}", metadata)
            outputs[output["OutputName"]] = body[output["OutputName"]]
        metadata["Lambda"]["OutputParameters"] = [{"Name": k, "Value": str(v)} for k, v in outputs.items()]
        return {"OutputParameters": outputs}, metadata

    def _fail(self, name: str, step: Resource) -> tuple[Resource, Resource]:
        message = str(step["Arguments"]["ErrorMessage"])
        raise StepFailedError(message, {"Fail": {"ErrorMessage": message}})


def holds(conditions: Iterable[Resource]) -> bool:
    """Whether all of some resolved conditions hold; raises StepFailedError for an unknown kind."""
    return all(_holds(condition) for condition in conditions)


def _holds(condition: Resource) -> bool:
    kind: str = condition["Type"]
    match kind:
        case "Or":
            return any(_holds(one) for one in condition["Conditions"])
        case "Not":
            return not _holds(condition["Expression"])
        case "In" | "NotIn":
            return (condition["QueryValue"] in condition["Values"]) == (kind == "In")
    left, right = condition["LeftValue"], condition["RightValue"]
    if kind in _EQUALITIES:
        return bool(_EQUALITIES[kind](left, right))
    if kind in _ORDERS:
        return _ORDERS[kind](float(left), float(right))
    raise StepFailedError(f"condition type {kind} is not known")
