"""Composite alarms of templates, which ministack's CloudFormation lacks though its CloudWatch has them."""

from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch

TYPE = "AWS::CloudWatch::CompositeAlarm"


def resource_handler() -> dict[str, Callable[..., Any]]:
    """The handler for ministack's CloudFormation; the physical id is the alarm's name, as on AWS."""

    def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        name = properties.get("AlarmName") or f"{stack_name}-{logical_id}"[:255]
        return name, _put(name, properties)

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        return physical_id, _put(physical_id, new)

    def delete(physical_id: str, properties: dict[str, Any]) -> None:
        cloudwatch._composite_alarms.pop(physical_id, None)

    return {"create": create, "update": update, "delete": delete}


def _put(name: str, properties: dict[str, Any]) -> dict[str, str]:
    status, _, body = cloudwatch._put_composite_alarm({}, {**properties, "AlarmName": name}, False, is_json=True)
    if status != 200:
        raise ValueError(f"{TYPE} {name}: {body!r}")
    return {"Arn": cloudwatch._composite_alarms[name]["AlarmArn"]}
