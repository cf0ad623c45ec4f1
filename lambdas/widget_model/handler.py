"""Custom widget: the model that decides and the canary beside it, as HTML."""

from collections.abc import Mapping
from typing import Any

from treeline.wiring.widget_model import wired

DESCRIPTION = "The active model and the canary under way. No parameters."


def handler(event: Mapping[str, Any], context: object) -> str:
    """HTML for CloudWatch to show, or the widget's documentation when it asks with `describe`."""
    return DESCRIPTION if event.get("describe") else wired()()
