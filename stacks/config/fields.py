"""From plain YAML values to typed dataclasses, with messages that name the file and the key."""

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from treeline.core.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Range:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Choice:
    values: tuple[Any, ...]


def bounded(default: Any, low: float, high: float) -> Any:
    """A number field that must lie in [low, high]; None passes where the type allows it."""
    return field(default=default, metadata={"limit": _Range(low, high)})


def one_of(default: Any, values: Sequence[Any]) -> Any:
    """A field that must be one of `values`."""
    return field(default=default, metadata={"limit": _Choice(tuple(values))})


def read(cls: type[T], raw: Mapping[str, Any], source: str, path: str = "") -> T:
    """Build the dataclass `cls` from `raw`.

    Nested dataclasses, tuples, optionals, mappings and int, float, str, bool are understood.

    Raises:
        SettingsError: `<source>: <key>: ...`, the key unknown or missing, of a wrong type or out of range.
    """
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
        base = _default_of(spec)
        value = raw[name]
        if is_dataclass(base) and isinstance(value, Mapping):
            # A nested section keeps the defaults of its place (sizes differ by function), not of its type.
            value = {**{f.name: getattr(base, f.name) for f in fields(base)}, **value}
        values[name] = _convert(hints[name], value, source, f"{path}{name}")
        _check(spec.metadata.get("limit"), values[name], source, f"{path}{name}")
    return cls(**values)


def _default_of(spec: Any) -> Any:
    if spec.default_factory is not MISSING:
        return spec.default_factory()
    return None if spec.default is MISSING else spec.default


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, source, key)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _wrong(source, key, "a list", value)
        return tuple(_convert(args[0], v, source, f"{key}[{i}]") for i, v in enumerate(value))
    if is_dataclass(hint):
        if isinstance(value, cast(type, hint)):
            return value
        if not isinstance(value, Mapping):
            raise _wrong(source, key, "a mapping", value)
        return read(cast(type, hint), value, source, f"{key}.")
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(source, key, "a mapping", value)
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is an int to Python, never to a person who writes YAML
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(
            source,
            key,
            {int: "an integer", float: "a number", str: "text", bool: "true or false"}[hint],
            value,
        )
    if isinstance(value, float) and math.isnan(value):
        raise _wrong(source, key, "a number", value)
    return value


def _wrong(source: str, key: str, expected: str, value: object) -> SettingsError:
    return SettingsError(f"{source}: {key}: must be {expected}, got {value!r}")


def _check(limit: object, value: Any, source: str, key: str) -> None:
    if value is None:
        return
    if isinstance(limit, _Range) and not limit.low <= value <= limit.high:
        raise SettingsError(f"{source}: {key}: must be in [{limit.low}, {limit.high}], got {value!r}")
    if isinstance(limit, _Choice) and value not in limit.values:
        raise SettingsError(f"{source}: {key}: must be one of {', '.join(map(str, limit.values))}, got {value!r}")
