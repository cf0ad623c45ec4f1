"""Do roles and calls agree? What templates allow, what services do with a role by themselves, what was recorded.

Everything is brought to one form: a caller and a resource are `part/construct ids joined` (a logical id without CDK's
hash), which no deployment, stage or account changes.
"""

import fnmatch
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.infra.templates import Stage, listed
from treeline.settings.outputs import PARTS

RECORDING = Path(__file__).with_name("recorded_calls.json")
REFRESH = "make permissions"


class Use(NamedTuple):
    """`caller` may call, or calls, `action` on `resource`."""

    caller: str
    action: str
    resource: str


def plain(logical_id: str) -> str:
    """A logical id without CDK's hash."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


class Templates:
    """The templates of a stage, with references followed."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage.name
        self.parts: dict[str, dict[str, Any]] = {part: stage.template(part) for part in stage.parts}

    def callers(self) -> dict[str, str]:
        """Caller -> role, both `part/id`: functions, state machines, schedules, jobs' roles as their own callers."""
        found = {}
        for part, id_, resource in self._resources():
            properties = resource.get("Properties", {})
            role = {
                "AWS::Lambda::Function": properties.get("Role"),
                "AWS::StepFunctions::StateMachine": properties.get("RoleArn"),
                "AWS::Scheduler::Schedule": (properties.get("Target") or {}).get("RoleArn"),
                "AWS::KinesisFirehose::DeliveryStream": _firehose_role(properties),
                "AWS::SageMaker::Pipeline": properties.get("RoleArn"),
            }.get(resource["Type"])
            if role is not None:
                found[f"{part}/{plain(id_)}"] = self.told(part, role)
        used = set(found.values())
        for part, id_, resource in self._resources():
            role = f"{part}/{plain(id_)}"
            if resource["Type"] == "AWS::IAM::Role" and role not in used:
                found[role] = role
        return found

    def allowed(self) -> set[Use]:
        """What roles allow their callers."""
        by_role: dict[str, set[tuple[str, str]]] = {}
        for part, _, resource in self._resources():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::IAM::Policy":
                roles = [self.told(part, role) for role in properties.get("Roles", [])]
                documents = [properties["PolicyDocument"]]
            elif resource["Type"] == "AWS::IAM::Role":
                roles = [f"{part}/{plain(_)}"]
                documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
            else:
                continue
            for document in documents:
                for statement in document["Statement"]:
                    for action in listed(statement["Action"]):
                        for target in listed(statement["Resource"]):
                            for role in roles:
                                by_role.setdefault(role, set()).add((action, self.told(part, target)))
        return {
            Use(caller, action, resource)
            for caller, role in self.callers().items()
            for action, resource in by_role.get(role, ())
        }

    def implied(self) -> set[Use]:
        """What AWS does with a caller's role because the template says so: read a source, write logs, start targets."""
        return set(self._implied())

    def _implied(self) -> Iterator[Use]:
        for part, id_, resource in self._resources():
            properties = resource.get("Properties", {})
            caller = f"{part}/{plain(id_)}"
            if resource["Type"] == "AWS::Lambda::EventSourceMapping":
                function = self.told(part, properties["FunctionName"])
                source = self.told(part, properties["EventSourceArn"])
                kind = "kinesis" if "StartingPosition" in properties else "sqs"
                for action in _POLLER[kind]:
                    yield Use(function, action, source)
                for destination in (properties.get("DestinationConfig") or {}).values():
                    yield Use(function, "sqs:SendMessage", self.told(part, destination["Destination"]))
            elif resource["Type"] == "AWS::Lambda::Function":
                group = self.told(part, properties["LoggingConfig"]["LogGroup"])
                yield Use(caller, "logs:CreateLogStream", group)
                yield Use(caller, "logs:PutLogEvents", group)
            elif resource["Type"] == "AWS::Scheduler::Schedule":
                target = properties["Target"]
                told = self.told(part, target["Arn"])
                yield Use(caller, _TARGET[self._type(told)], told)
                if "DeadLetterConfig" in target:
                    yield Use(caller, "sqs:SendMessage", self.told(part, target["DeadLetterConfig"]["Arn"]))
            elif resource["Type"] == "AWS::Lambda::EventInvokeConfig":
                for destination in (properties.get("DestinationConfig") or {}).values():
                    function = self.told(part, properties["FunctionName"])
                    yield Use(function, "sqs:SendMessage", self.told(part, destination["Destination"]))
            elif resource["Type"] == "AWS::Events::Rule":
                for target in properties.get("Targets", ()):
                    if "RoleArn" in target:
                        told = self.told(part, target["Arn"])
                        yield Use(self.told(part, target["RoleArn"]), _TARGET[self._type(told)], told)

    def keys_of(self, calls: Iterable[Use]) -> set[Use]:
        """The use of a key that publishing to a topic encrypted with it means for the publisher."""
        keys = {
            f"{part}/{plain(id_)}": self.told(part, resource["Properties"]["KmsMasterKeyId"])
            for part, id_, resource in self._resources()
            if resource["Type"] == "AWS::SNS::Topic" and isinstance(resource["Properties"].get("KmsMasterKeyId"), dict)
        }
        return {
            Use(call.caller, action, keys[call.resource])
            for call in calls
            if call.action == "sns:Publish" and call.resource in keys
            for action in ("kms:GenerateDataKey", "kms:Decrypt")
        }

    def _type(self, told: str) -> str:
        for part, id_, resource in self._resources():
            if f"{part}/{plain(id_)}" == told:
                return str(resource["Type"])
        raise KeyError(told)

    def _resources(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for part, template in self.parts.items():
            for id_, resource in template["Resources"].items():
                yield part, id_, resource

    def told(self, part: str, value: Any) -> str:
        """A value of a template in the common form."""
        return self._short(self._text(part, value))

    def _text(self, part: str, value: Any) -> str:
        if isinstance(value, (str, int)):
            return str(value)
        (function, argument) = next(iter(value.items()))
        if function == "Ref":
            return argument if argument.startswith("AWS::") else f"{part}/{plain(argument)}"
        if function == "Fn::GetAtt":
            id_ = argument[0] if isinstance(argument, list) else argument.split(".")[0]
            return f"{part}/{plain(id_)}"
        if function == "Fn::Join":
            return argument[0].join(self._text(part, piece) for piece in argument[1])
        if function == "Fn::Sub" and isinstance(argument, str):
            return re.sub(r"\$\{([^}]+)\}", lambda m: self._text(part, {"Ref": m[1]}), argument)
        if function == "Fn::GetStackOutput":
            producer = argument["StackName"].removeprefix(f"treeline-{self.stage}-")
            return self._text(producer, self.parts[producer]["Outputs"][argument["OutputName"]]["Value"])
        raise ValueError(f"{part}: cannot follow {value}")

    def _short(self, text: str) -> str:
        # arn:AWS::Partition:sagemaker:AWS::Region:AWS::AccountId:endpoint/x -> sagemaker:endpoint/x
        arn = re.match(r"arn:(?:AWS::Partition|aws):([\w-]+):.*?(?:AWS::AccountId|:):(.*)$", text)
        if arn and "/" in arn[2] and arn[1] not in ("logs",):
            text = f"{arn[1]}:{arn[2]}"
        text = re.sub(r"^arn:aws:states:.*:execution:\*(:\*)?$", "states:execution/*", text)
        text = re.sub(r":\*$", "", text)  # a log group's streams
        return text.replace(f"treeline-{self.stage}", "treeline-STAGE")


_POLLER = {
    # What Lambda's pollers do with the function's role (AWS: AWSLambdaSQSQueueExecutionRole, ...KinesisExecutionRole).
    "sqs": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "kinesis": (
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
    ),
}
_TARGET = {
    "AWS::Lambda::Function": "lambda:InvokeFunction",
    "AWS::StepFunctions::StateMachine": "states:StartExecution",
    "AWS::SQS::Queue": "sqs:SendMessage",
    "AWS::SageMaker::Pipeline": "sagemaker:StartPipelineExecution",
}


def _firehose_role(properties: dict[str, Any]) -> Any:
    for key, value in properties.items():
        if key.endswith("DestinationConfiguration"):
            return value.get("RoleARN")
    return None


def covers(allowed: Use, call: Use) -> bool:
    """Whether a permission allows a call."""
    return (
        allowed.caller == call.caller
        and allowed.action == call.action
        and (allowed.resource == call.resource or fnmatch.fnmatchcase(call.resource, allowed.resource))
    )


def not_allowed(allowed: Iterable[Use], calls: Iterable[Use]) -> set[Use]:
    """Calls that would be refused."""
    permitted = list(allowed)
    return {call for call in calls if not any(covers(one, call) for one in permitted)}


def never_used(allowed: Iterable[Use], calls: Iterable[Use]) -> set[Use]:
    """Permissions that nobody uses."""
    made = list(calls)
    return {one for one in allowed if not any(covers(one, call) for call in made)}


def read_recording(path: Path = RECORDING) -> set[Use]:
    """The checked-in recording."""
    return {Use(*row) for row in json.loads(path.read_text(encoding="utf-8"))["calls"]}


def write_recording(calls: Iterable[Use], path: Path = RECORDING) -> None:
    """Write it, one call a line."""
    rows = ",\n".join(f"    {json.dumps(list(use))}" for use in sorted(calls))
    note = f"Every call that functions and state machines made in tests/deployed; refreshed by `{REFRESH}`."
    path.write_text(f'{{\n  "note": {json.dumps(note)},\n  "calls": [\n{rows}\n  ]\n}}\n', encoding="utf-8")


def recorded(folder: Path) -> set[Use]:
    """What a run of tests left in the folder of emulator.permissions.calls, in the common form."""
    names: dict[str, str] = {}
    for line in _lines(folder, "resources-*.jsonl"):
        part = line["stack"].split("-", 2)[-1] if line["stack"].startswith("treeline-") else None
        if part in PARTS:
            physical = line["name"]
            told = f"{part}/{plain(line['id'])}"
            names[physical] = told
            names[re.split(r"[:/]", physical)[-1]] = told
    calls = set()
    for line in _lines(folder, "calls-*.jsonl"):
        caller = line["caller"].split(":", 1)[1]
        if caller not in names:
            continue  # a function of a test's own small stack
        resource = line["resource"]
        name = names.get(resource) or names.get(re.split(r"[:/]", resource)[-1])
        if name is None or resource.startswith(("sagemaker:", "ssm:", "events:", "states:")):
            name = re.sub(r"treeline-local\b", "treeline-STAGE", resource)
            name = _without_run(name)
        calls.add(Use(names[caller], line["action"], name + line["below"]))
    return calls


def _without_run(resource: str) -> str:
    """A resource without what is new in every run: what the promotion hosts, what SageMaker numbers."""
    resource = re.sub(r"(endpoint-config/treeline-STAGE)-[0-9a-f]{8}$", r"\1-HASH", resource)
    resource = re.sub(r"^sagemaker:model/.*-[0-9a-f]{8}$", "sagemaker:model/MODEL-HASH", resource)
    return re.sub(r"(:pipeline/.*/execution)/[a-z0-9]{12}$", r"\1/ID", resource)


def _lines(folder: Path, pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(pattern)):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
