"""How settings travel to a function: upper-case environment variables, written by a stack and read by a handler."""

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints

from treeline.core.errors import SettingsError
from treeline.core.profile import Metric, to_json
from treeline.core.setting import Settings, WrongSettingError
from treeline.settings.values import EXPECTED, convert

_NONE = "none"
# All variables of a function share 4 KB, and 38 metrics with every limit declared are twice that as plain JSON.
_LONGEST_PLAIN_CHARACTERS = 1024
_COMPRESSED = "zlib:"


@dataclass(frozen=True, kw_only=True)
class EnvSettings(Settings):
    """Base of what a function is told.

    Field types: str, int, float, bool, each of them optional (`X | None`), a dataclass of settings (JSON of what
    differs from its defaults) and a metric set (JSON, compressed where it is long). An absent or empty variable leaves
    a field at its default; a field without one must be present. `none` sets an optional number to None, so that
    switching a default limit off survives the trip.
    """

    @classmethod
    def of(cls, *sections: object, **given: Any) -> Self:
        """What a stack tells: every declared setting from the section that has it, everything else as given."""
        values = dict(given)
        for name in (f.name for f in fields(cls) if "setting" in f.metadata and f.name not in given):
            section = next((s for s in sections if hasattr(s, name)), None)
            if section is None:
                raise SettingsError(f"{cls.__name__}: {name}: no section has it")
            values[name] = getattr(section, name)
        return cls(**values)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read every field; raises SettingsError naming the variable, its value and what was expected."""
        hints = get_type_hints(cls)
        told = {f.name: env[f.name.upper()] for f in fields(cls) if env.get(f.name.upper())}
        missing = [
            f.name.upper()
            for f in fields(cls)
            if f.default is MISSING and f.default_factory is MISSING and f.name not in told
        ]
        values = {name: _parse(cls.__name__, name.upper(), text, hints[name]) for name, text in told.items()}
        if missing:
            raise SettingsError(f"{cls.__name__}: {', '.join(missing)} must be set")
        try:
            return cls(**values)
        except WrongSettingError as error:
            raise SettingsError(f"{error.key.upper()} {error.why}") from error

    def to_env(self) -> dict[str, str]:
        """The environment a stack gives the function; a None that is the default anyway is left out."""
        values = {f.name.upper(): (getattr(self, f.name), f.default) for f in fields(self)}
        return {k: _format(v) for k, (v, default) in values.items() if v is not None or default is not None}


def overrides(settings: Any) -> str:
    """A dataclass of settings as compact JSON of what differs from the defaults."""
    usual = asdict(type(settings)())
    return json.dumps(
        {k: v for k, v in asdict(settings).items() if v != usual[k]}, sort_keys=True, separators=(",", ":")
    )


def _parse(source: str, name: str, raw: str, hint: Any) -> Any:
    if get_origin(hint) is tuple or is_dataclass(hint):
        try:
            plain = json.loads(decompressed(raw))
        except (ValueError, zlib.error) as error:
            raise SettingsError(f"{name} must be JSON, got {raw[:80]!r}") from error
        return convert(hint, plain, source, name)
    kinds = [k for k in (get_args(hint) or (hint,)) if k is not type(None)]
    kind = kinds[0]
    if raw == _NONE and type(None) in get_args(hint):
        return None
    try:
        value = {"true": True, "false": False}[raw.lower()] if kind is bool else kind(raw)
    except (ValueError, KeyError) as error:
        raise SettingsError(f"{name} must be {EXPECTED[kind]}, got {raw!r}") from error
    if kind is float and not math.isfinite(value):
        raise SettingsError(f"{name} must be a finite number, got {raw!r}")
    return value


def _format(value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, tuple):
        metrics: tuple[Metric, ...] = value
        text = to_json(metrics)
        return text if len(text) <= _LONGEST_PLAIN_CHARACTERS else compressed(text)
    if is_dataclass(value):
        return overrides(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def compressed(text: str) -> str:
    """A text in fewer characters, all of them letters, digits, +, /, = and one colon."""
    return _COMPRESSED + base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


def decompressed(raw: str) -> str:
    """What `compressed` was given; any other text as it is. Raises ValueError or zlib.error where it cannot be read."""
    if not raw.startswith(_COMPRESSED):
        return raw
    return zlib.decompress(base64.b64decode(raw.removeprefix(_COMPRESSED))).decode()
