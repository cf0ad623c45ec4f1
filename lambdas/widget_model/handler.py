"""Custom widget: the model that decides and the canary beside it, as HTML."""

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from treeline.app.widgets.html import model_html
from treeline.aws.widgets.pointers import model_pointers
from treeline.settings.widgets import WidgetModelSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DESCRIPTION = "The active model and the canary under way. No parameters."


@cache
def _composition() -> "tuple[DynamoDBClient, WidgetModelSettings]":
    return boto3.client("dynamodb"), WidgetModelSettings.from_env(os.environ)


def handler(event: Mapping[str, Any], context: object) -> str:
    """HTML for CloudWatch to show, or the widget's documentation when it asks with `describe`."""
    if event.get("describe"):
        return DESCRIPTION
    dynamodb, settings = _composition()
    return model_html(model_pointers(dynamodb, settings.controls_table))
