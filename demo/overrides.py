"""Stage settings given on a command line: `--set stream.batching_window_s=5`."""

from collections.abc import Iterable
from typing import Any

import yaml

from stacks.config.stage import merged
from treeline.core.errors import UsageError


def overrides(settings: Iterable[str]) -> dict[str, Any]:
    """`a.b=VALUE` as {"a": {"b": VALUE}}, several merged; values are read as in a stage's file.

    Raises:
        UsageError: Not of that form, or the value is not YAML. Which keys there are, synthesis checks.
    """
    result: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        names = key.split(".")
        if not equals or not all(names):
            raise UsageError(f"--set takes KEY=VALUE such as stream.batching_window_s=5, got {setting!r}")
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {key}: {text!r} is not YAML: {str(error).splitlines()[0]}") from error
        for name in reversed(names):
            value = {name: value}
        result = merged(result, value)
    return result
