"""Let a CloudFormation template create models, endpoint configurations and endpoints."""

from collections.abc import Callable
from typing import Any

from local.cloud.sagemaker.service import SageMaker

_TYPES = {
    "AWS::SageMaker::Model": ("Model", "ModelName", "ModelArn"),
    "AWS::SageMaker::EndpointConfig": ("EndpointConfig", "EndpointConfigName", "EndpointConfigArn"),
    "AWS::SageMaker::Endpoint": ("Endpoint", "EndpointName", "EndpointArn"),
}


def resource_handlers(sagemaker: SageMaker) -> dict[str, dict[str, Callable[..., Any]]]:
    """Handlers for ministack's CloudFormation; the physical id is the ARN, as on AWS."""
    return {kind: _handler(sagemaker, *names) for kind, names in _TYPES.items()}


def _handler(sagemaker: SageMaker, noun: str, name_field: str, arn_field: str) -> dict[str, Callable[..., Any]]:
    def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        name = properties.get(name_field) or f"{stack_name}-{logical_id}"[:63]
        arn = sagemaker.call(f"Create{noun}", {**properties, name_field: name})[arn_field]
        return arn, {name_field: name, "Id": arn}

    def delete(physical_id: str, properties: dict[str, Any]) -> None:
        sagemaker.call(f"Delete{noun}", {name_field: physical_id.rsplit("/", 1)[-1]})

    return {"create": create, "delete": delete}
