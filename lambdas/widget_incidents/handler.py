"""Custom widget: open incidents with their evidence, as HTML."""

from collections.abc import Mapping
from typing import Any

from treeline.wiring.widget_incidents import wired

DESCRIPTION = "Open incidents, worst first: what was measured and what was expected. No parameters."


def handler(event: Mapping[str, Any], context: object) -> str:
    """HTML for CloudWatch to show, or the widget's documentation when it asks with `describe`."""
    return DESCRIPTION if event.get("describe") else wired()()
