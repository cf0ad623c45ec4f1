"""Let a CloudFormation template create what it may of SageMaker: hosting, the registry's group, the pipeline."""

import json
import uuid
from collections.abc import Callable
from typing import Any

from emulator.sagemaker.service import SageMaker

_TYPES = {
    "AWS::SageMaker::Model": ("Model", "ModelName", "ModelArn"),
    "AWS::SageMaker::EndpointConfig": ("EndpointConfig", "EndpointConfigName", "EndpointConfigArn"),
    "AWS::SageMaker::Endpoint": ("Endpoint", "EndpointName", "EndpointArn"),
    "AWS::SageMaker::ModelPackageGroup": ("ModelPackageGroup", "ModelPackageGroupName", "ModelPackageGroupArn"),
}


def resource_handlers(sagemaker: SageMaker) -> dict[str, dict[str, Callable[..., Any]]]:
    """Handlers for ministack's CloudFormation; the physical id is the ARN, as on AWS."""
    handlers = {kind: _handler(sagemaker, *names) for kind, names in _TYPES.items()}
    return handlers | {"AWS::SageMaker::Pipeline": _pipeline_handler(sagemaker)}


def _handler(sagemaker: SageMaker, noun: str, name_field: str, arn_field: str) -> dict[str, Callable[..., Any]]:
    def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        name = properties.get(name_field) or f"{stack_name}-{logical_id}"[:63]
        arn = sagemaker.call(f"Create{noun}", {**properties, name_field: name})[arn_field]
        return arn, {name_field: name, "Id": arn}

    def delete(physical_id: str, properties: dict[str, Any]) -> None:
        sagemaker.call(f"Delete{noun}", {name_field: physical_id.rsplit("/", 1)[-1]})

    return {"create": create, "delete": delete}


def _pipeline_handler(sagemaker: SageMaker) -> dict[str, Callable[..., Any]]:
    """A pipeline is changed in place; its physical id is its name, as on AWS."""

    def request(properties: dict[str, Any]) -> dict[str, Any]:
        body = properties["PipelineDefinition"]["PipelineDefinitionBody"]
        kept = {k: v for k, v in properties.items() if k not in ("PipelineDefinition", "Tags")}
        return {**kept, "PipelineDefinition": body if isinstance(body, str) else json.dumps(body)}

    def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        wanted = {**request(properties), "Tags": properties.get("Tags", []), "ClientRequestToken": str(uuid.uuid4())}
        sagemaker.call("CreatePipeline", wanted)
        return properties["PipelineName"], {}

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        sagemaker.call("UpdatePipeline", request(new))
        return physical_id, {}

    def delete(physical_id: str, properties: dict[str, Any]) -> None:
        sagemaker.call("DeletePipeline", {"PipelineName": physical_id, "ClientRequestToken": str(uuid.uuid4())})

    return {"create": create, "update": update, "delete": delete}
