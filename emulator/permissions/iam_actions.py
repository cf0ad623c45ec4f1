"""Which permissions an AWS call needs: from an API operation and its parameters to IAM actions and resources. Pure.

Only what Treeline calls is known. An unknown service or operation raises, so that a new call cannot slip past the
proof of permissions unnoticed. Source of the mapping: AWS's Service Authorization Reference.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Parameters = Mapping[str, Any]


class Permission(NamedTuple):
    """An action on a resource: the resource's physical name, and what a policy's ARN has behind it."""

    action: str
    resource: str
    below: str = ""


class UnknownCallError(LookupError):
    """Nobody has said yet which permission this call needs; emulator/permissions/iam_actions.py is the place."""


_TRANSACTION = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Get": "dynamodb:GetItem",
}
# What IAM calls by another name: where one API name stands for several, it knows the single one.
_SINGLE = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "PublishBatch": "Publish",
    "Invoke": "InvokeFunction",
}
_S3 = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetObjectTagging": "s3:GetObjectTagging",
    "PutObjectTagging": "s3:PutObjectTagging",
}
_S3_BUCKET = {"ListObjectsV2": "s3:ListBucket", "ListObjects": "s3:ListBucket", "HeadBucket": "s3:ListBucket"}
# Parameter that names what a SageMaker call is about, and the ARN's word for it.
_SAGEMAKER = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "TransformJobName": "transform-job",
    "PipelineName": "pipeline",
    "ModelPackageGroupName": "model-package-group",
    "ModelPackageName": "model-package",
    "ModelPackageArn": "model-package",
    "PipelineExecutionArn": "pipeline",
}
_EVERYTHING = "*"  # the service has no resource-level permission for it


def permissions(service: str, operation: str, parameters: Parameters) -> Iterator[Permission]:
    """What a caller of a service (as boto3 spells it) and operation (as its API does) must be allowed.

    Raises:
        UnknownCallError: The call is not known here.
    """
    if service in _SERVICES:
        yield from _SERVICES[service](operation, parameters)
    elif service in _RESOURCES:
        for resource in _RESOURCES[service](parameters):
            yield Permission(f"{service}:{_SINGLE.get(operation, operation)}", resource)
    else:
        raise UnknownCallError(f"{service}:{operation}: service unknown to emulator/permissions/iam_actions.py")
    for name in ("RoleArn", "ExecutionRoleArn", "roleArn"):
        if isinstance(parameters.get(name), str):
            yield Permission("iam:PassRole", _last(parameters[name], "/"))


def _dynamodb(operation: str, parameters: Parameters) -> Iterator[Permission]:
    if operation in ("TransactWriteItems", "TransactGetItems"):
        for item in parameters["TransactItems"]:
            for kind, what in item.items():
                yield Permission(_TRANSACTION[kind], _last(what["TableName"], "/"))
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        for table in parameters["RequestItems"]:
            yield Permission(f"dynamodb:{operation}", _last(table, "/"))
    elif "TableName" in parameters:
        index = parameters.get("IndexName")
        yield Permission(
            f"dynamodb:{operation}", _last(parameters["TableName"], "/"), f"/index/{index}" if index else ""
        )
    else:
        raise UnknownCallError(f"dynamodb:{operation}")


def _s3(operation: str, parameters: Parameters) -> Iterator[Permission]:
    bucket = str(parameters.get("Bucket", ""))
    if operation in _S3:
        if operation == "DeleteObjects":
            keys = [item["Key"] for item in parameters["Delete"]["Objects"]]
        else:
            keys = [parameters["Key"]]
        for below in dict.fromkeys(_below(key) for key in keys):
            yield Permission(_S3[operation], bucket, below)
    elif operation in ("CopyObject", "UploadPartCopy"):
        source = parameters["CopySource"]
        if isinstance(source, str):
            source = dict(zip(("Bucket", "Key"), source.lstrip("/").split("/", 1), strict=True))
        yield Permission("s3:GetObject", source["Bucket"], _below(source["Key"]))
        yield Permission("s3:PutObject", bucket, _below(parameters["Key"]))
    elif operation in _S3_BUCKET:
        yield Permission(_S3_BUCKET[operation], bucket)
    else:
        raise UnknownCallError(f"s3:{operation}")


def _below(key: str) -> str:
    """Where in a bucket a key lies; its own name changes with every run."""
    folder, slash, _ = str(key).partition("/")
    return f"/{folder}/*" if slash else "/*"


def _sagemaker(operation: str, parameters: Parameters) -> Iterator[Permission]:
    if operation.startswith("List") and not operation.startswith("ListPipelineExecution"):
        yield Permission(f"sagemaker:{operation}", _EVERYTHING)
        return
    found = [(word, str(parameters[name])) for name, word in _SAGEMAKER.items() if parameters.get(name)]
    if not found:
        raise UnknownCallError(f"sagemaker:{operation} with {sorted(parameters)}")
    # An endpoint is made from a configuration, a package version in a group: both are checked.
    wanted = found if operation in ("CreateEndpoint", "UpdateEndpoint") else found[:1]
    for word, name in wanted:
        name = name.split(f"{word}/", 1)[-1] if name.startswith("arn:") else name
        yield Permission(f"sagemaker:{operation}", f"sagemaker:{word}/{name.lower()}")


def _states(operation: str, parameters: Parameters) -> Iterator[Permission]:
    if operation.startswith("SendTask"):
        yield Permission(f"states:{operation}", _EVERYTHING)
        return
    arn = parameters.get("stateMachineArn") or parameters.get("StateMachineArn")
    if arn:
        yield Permission(f"states:{operation}", _last(str(arn), ":"))
        return
    # An execution's name changes with every run, and its machine's with every deployment.
    yield Permission(f"states:{operation}", "states:execution/MACHINE")


def _last_or_everything(asked: Parameters, names: tuple[str, str], separator: str) -> str:
    name = asked.get(names[0]) or asked.get(names[1])
    return _last(str(name), separator) if name else _EVERYTHING


def _last(text: str, separator: str) -> str:
    return text.rsplit(separator, 1)[-1]


_SERVICES: dict[str, Callable[[str, Parameters], Iterator[Permission]]] = {
    "dynamodb": _dynamodb,
    "s3": _s3,
    "sagemaker": _sagemaker,
    "sagemaker-runtime": _sagemaker,
    "stepfunctions": _states,
}
# The other services: what a call is about, whichever operation it is.
_RESOURCES: dict[str, Callable[[Parameters], list[str]]] = {
    # The service gives a target its id.
    "application-autoscaling": lambda asked: ["application-autoscaling:scalable-target/ID"],
    "cloudwatch": lambda asked: [_EVERYTHING],
    "events": lambda asked: [
        f"events:event-bus/{entry.get('EventBusName', 'default')}" for entry in asked.get("Entries", [{}])
    ],
    "kinesis": lambda asked: [_last(str(asked.get("StreamName") or asked.get("StreamARN", "")), "/")],
    "lambda": lambda asked: [str(asked["FunctionName"]).split(":function:", 1)[-1].split(":")[0]],
    "logs": lambda asked: [_last_or_everything(asked, ("logGroupName", "logGroupIdentifier"), "log-group:")],
    "secretsmanager": lambda asked: [str(asked["SecretId"])],
    "sns": lambda asked: [_last_or_everything(asked, ("TopicArn", "TargetArn"), ":")],
    "sqs": lambda asked: [_last(str(asked["QueueUrl"]), "/")],
    "ssm": lambda asked: [
        f"ssm:parameter/{str(name).lstrip('/')}"
        for name in asked.get("Names") or [asked.get("Name") or asked.get("Path")]
    ],
}
