"""detect: score and decide everything a group of servers has waiting."""

import os
from functools import cache
from typing import Any

from lambdas.detect.composition import Composition, compose
from treeline.settings.pipeline import DetectSettings


@cache
def _composition() -> Composition:
    return compose(DetectSettings.from_env(os.environ))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """SQS batch of ticks in, partial batch response out."""
    return _composition().handle(event["Records"], context)
