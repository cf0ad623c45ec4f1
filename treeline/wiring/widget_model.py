"""widget_model: the pointers to the active model and to the canary."""

import os
from collections.abc import Callable
from functools import cache

import boto3

from treeline.app.widgets.html import model_html
from treeline.aws.widgets.pointers import model_pointers
from treeline.settings.widgets import WidgetModelSettings


@cache
def wired() -> Callable[[], str]:
    """What draws the models that decide, by the environment's settings."""
    settings = WidgetModelSettings.from_env(os.environ)
    dynamodb = boto3.client("dynamodb")
    return lambda: model_html(model_pointers(dynamodb, settings.controls_table))
