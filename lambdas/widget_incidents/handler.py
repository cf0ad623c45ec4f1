"""Custom widget: open incidents with their evidence, as HTML."""

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from treeline.app.widgets.html import incidents_html
from treeline.aws.widgets.pointers import open_incidents
from treeline.settings.widgets import WidgetIncidentsSettings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DESCRIPTION = "Open incidents, worst first: what was measured and what was expected. No parameters."


@cache
def _composition() -> "tuple[DynamoDBClient, WidgetIncidentsSettings]":
    return boto3.client("dynamodb"), WidgetIncidentsSettings.from_env(os.environ)


def handler(event: Mapping[str, Any], context: object) -> str:
    """HTML for CloudWatch to show, or the widget's documentation when it asks with `describe`."""
    if event.get("describe"):
        return DESCRIPTION
    dynamodb, settings = _composition()
    found = open_incidents(dynamodb, settings.incidents_table, limit=settings.limit)
    return incidents_html(found, limit=settings.limit)
