"""Custom widget: the fleet's census and a map of one cell a server, as HTML."""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3

from treeline.app.widgets.fleet_map import fleet_html
from treeline.aws.widgets.fleet import FleetReader
from treeline.settings.widgets import WidgetFleetSettings

DESCRIPTION = "Every server of the fleet in its condition; silent servers by name. No parameters."


@cache
def _reader() -> FleetReader:
    settings = WidgetFleetSettings.from_env(os.environ)
    return FleetReader(
        boto3.client("dynamodb"),
        servers_table=settings.servers_table,
        state_table=settings.state_table,
        controls_table=settings.controls_table,
        group_size=settings.group_size,
        silent_after_ms=settings.silent_after_s * 1000,
    )


def handler(event: Mapping[str, Any], context: object) -> str:
    """HTML for CloudWatch to show, or the widget's documentation when it asks with `describe`."""
    return DESCRIPTION if event.get("describe") else fleet_html(_reader().read(time.time_ns() // 1_000_000))
