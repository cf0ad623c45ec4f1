"""widget_incidents: the newest open incidents."""

import os
from collections.abc import Callable
from functools import cache

import boto3

from treeline.app.widgets.html import incidents_html
from treeline.aws.widgets.pointers import open_incidents
from treeline.settings.widgets import WidgetIncidentsSettings


@cache
def wired() -> Callable[[], str]:
    """What draws the open incidents, by the environment's settings."""
    settings = WidgetIncidentsSettings.from_env(os.environ)
    dynamodb = boto3.client("dynamodb")
    return lambda: incidents_html(
        open_incidents(dynamodb, settings.incidents_table, limit=settings.limit), limit=settings.limit
    )
