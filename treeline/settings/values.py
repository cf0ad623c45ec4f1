"""From plain values (YAML, JSON) to typed settings, with messages that name source, key, value and what is expected."""

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from treeline.core.errors import SettingsError

T = TypeVar("T")
EXPECTED = {int: "an integer", float: "a number", str: "text", bool: "true or false"}


def read(cls: type[T], raw: object, source: str, path: str = "") -> T:
    """Build the dataclass `cls` from `raw`.

    Nested dataclasses, tuples, optionals, mappings by name, text enums and int, float, str, bool are understood.

    Raises:
        SettingsError: `<source>: <key>: ...`, the key unknown or missing, of a wrong type or out of range.
    """
    if not isinstance(raw, Mapping):
        raise _wrong(source, path.rstrip("."), "a mapping", raw)
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cast(Any, cls))}
    for key in raw:
        if key not in known:
            raise SettingsError(f"{source}: {path}{key}: unknown key; known here: {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, spec in known.items():
        if name not in raw:
            if spec.default is MISSING and spec.default_factory is MISSING:
                raise SettingsError(f"{source}: {path}{name}: must be set")
            continue
        base = default_of(spec)
        value = raw[name]
        if is_dataclass(base) and isinstance(value, Mapping):
            # A nested section keeps the defaults of its place (sizes differ by function), not of its type.
            value = {**{f.name: getattr(base, f.name) for f in fields(base)}, **value}
        values[name] = convert(hints[name], value, source, f"{path}{name}")
    try:
        return cls(**values)
    except SettingsError as error:
        raise SettingsError(f"{source}: {path}{error}") from error


def default_of(spec: Any) -> Any:
    """A dataclass field's default; None where it has none."""
    if spec.default_factory is not MISSING:
        return spec.default_factory()
    return None if spec.default is MISSING else spec.default


def convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """`value` as the type `hint` asks for; raises SettingsError as `read`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return convert(next(a for a in args if a is not type(None)), value, source, key)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _wrong(source, key, "a list", value)
        return tuple(convert(args[0], v, source, f"{key}[{i}]") for i, v in enumerate(value))
    if is_dataclass(hint):
        return value if isinstance(value, cast(type, hint)) else read(cast(type, hint), value, source, f"{key}.")
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(source, key, "a mapping", value)
        return {str(name): convert(args[1], v, source, f"{key}.{name}") for name, v in value.items()}
    if issubclass(hint, StrEnum):
        if value not in list(hint):
            raise _wrong(source, key, f"one of {', '.join(hint)}", value)
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is an int to Python, never to a person who writes YAML
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(source, key, EXPECTED[hint], value)
    if isinstance(value, float) and math.isnan(value):
        raise _wrong(source, key, EXPECTED[float], value)
    return value


def _wrong(source: str, key: str, expected: str, value: object) -> SettingsError:
    where = f"{source}: {key}" if key else source
    return SettingsError(f"{where}: must be {expected}, got {value!r}")
