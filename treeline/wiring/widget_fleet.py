"""widget_fleet: the detector's state of every group."""

import os
from collections.abc import Callable
from functools import cache

import boto3

from treeline.app.widgets.fleet_map import fleet_html
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.widgets.fleet import FleetReader
from treeline.settings.widgets import WidgetFleetSettings
from treeline.wiring.clients import now_ms


@cache
def wired() -> Callable[[], str]:
    """What draws the fleet, by the environment's settings."""
    settings = WidgetFleetSettings.from_env(os.environ)
    dynamodb = boto3.client("dynamodb")
    reader = FleetReader(
        dynamodb,
        records=DetectorRecords(dynamodb, settings.state_table, clock_ms=now_ms),
        servers_table=settings.servers_table,
        controls_table=settings.controls_table,
        group_size=settings.group_size,
        silent_after_ms=settings.silent_after_s * 1000,
    )
    return lambda: fleet_html(reader.read(now_ms()))
