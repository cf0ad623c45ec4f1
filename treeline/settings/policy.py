"""Policy settings as a stage's file or a variable has them: checked field by field, so that a typo is named."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import SettingsError

_EXPECTED = {int: "an integer", float: "a number"}


def policy_from_text(text: str, *, source: str = "POLICY") -> PolicySettings:
    """Read a JSON object of overrides; raises SettingsError as `policy_from_values`, and for what is no object."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{source} must be a JSON object of policy settings, got {text[:80]!r}") from error
    return policy_from_values(values, source=source)


def policy_from_values(values: object, *, source: str = "policy") -> PolicySettings:
    """Overrides of the default policy.

    Args:
        values: Field -> value.
        source: What the message begins with: the variable, or the file and key.

    Raises:
        SettingsError: Naming the field, its value and what was expected.
    """
    if not isinstance(values, Mapping):
        raise SettingsError(f"{source} must be a mapping of policy settings, got {values!r}")
    known: dict[str, Any] = {field.name: type(field.default) for field in fields(PolicySettings)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(f"{source}: {name}: unknown setting; known: {', '.join(known)}")
        kind = known[name]
        fits = isinstance(value, int) or (kind is float and isinstance(value, float) and math.isfinite(value))
        if not fits or isinstance(value, bool):
            raise SettingsError(f"{source}: {name} must be {_EXPECTED[kind]}, got {value!r}")
        given[name] = kind(value)
    try:
        return PolicySettings(**given)
    except SettingsError as error:
        raise SettingsError(f"{source}: {error}") from error
