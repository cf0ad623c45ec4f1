"""Custom widget: the fleet's census and a map of one cell a server, as HTML."""

from collections.abc import Mapping
from typing import Any

from treeline.wiring.widget_fleet import wired

DESCRIPTION = "Every server of the fleet in its condition; silent servers by name. No parameters."


def handler(event: Mapping[str, Any], context: object) -> str:
    """HTML for CloudWatch to show, or the widget's documentation when it asks with `describe`."""
    return DESCRIPTION if event.get("describe") else wired()()
