"""The reference of a stage's file, docs/settings.md, from the declarations: `python -m stacks.config.reference`."""

import math
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from stacks.config.stage import CONFIG_FOLDER, StageConfig
from treeline.core.profile import Metric
from treeline.core.setting import Setting
from treeline.settings.values import default_of

PAGE = CONFIG_FOLDER.parent / "docs" / "settings.md"
_NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", Metric: "metrics"}
_INTRODUCTION = """# Settings of a stage

Every key that `config/STAGE.yaml` may have. What a file leaves out has the default. A wrong key, type or value is named
with the file and the key before anything is built (`make stage STAGE=mine`). Where a key ends in a unit, that is its
unit. This page is made from the declarations in `stacks/config` and `treeline/settings`
(`make settings`); a test holds it to them.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the page."""

    path: str
    type: str
    range: str
    default: str
    meaning: str


def keys(cls: type, path: str = "", base: Any = None) -> Iterator[Key]:
    """The keys of a section's dataclass and of those below it, as a file would write them: behind `path`.

    `base` is the section with the defaults of its place; None: those of its type.
    """
    hints = get_type_hints(cls)
    for spec in fields(cls):
        declared: Setting | None = spec.metadata.get("setting")
        if declared is None:  # `stage`: the file's name
            continue
        hint, at = hints[spec.name], f"{path}{spec.name}"
        default = default_of(spec) if base is None else getattr(base, spec.name)
        is_needed = spec.default is MISSING and spec.default_factory is MISSING
        if is_dataclass(hint) and isinstance(hint, type):
            yield from keys(hint, f"{at}.", default)
        elif get_origin(hint) is Mapping:
            own = ", ".join(f"`{name}`" for name in sorted(f.name for f in fields(get_args(hint)[1])))
            yield Key(at, "mapping by name", "", "none", f"{declared.meaning} Its keys are {own}.")
        else:
            yield Key(
                at, _type(hint), declared.expected.removeprefix("in "), _default(default, is_needed), declared.meaning
            )
            for item in get_args(hint) if get_origin(hint) is tuple else ():
                if is_dataclass(item) and isinstance(item, type):
                    yield from keys(item, f"{at}[].")


def _type(hint: Any) -> str:
    args = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return f"{_type(args[0])} or null"
    if get_origin(hint) is tuple:
        return f"list of {_type(args[0])}"
    return _NAMES[str if issubclass(hint, StrEnum) else hint]


def _default(value: Any, is_needed: bool) -> str:
    if is_needed:
        return "must be set"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if value in (math.inf, -math.inf):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(metric.name for metric in value) or "empty"
    return f"{value}" if value != "" else "empty"


def page() -> str:
    """The whole page."""
    parts: dict[str, list[Key]] = {}
    for key in keys(StageConfig):
        section = key.path.split(".")[0] if "." in key.path.replace("[].", "") or key.path == "profiles" else ""
        parts.setdefault(section, []).append(key)
    text = _INTRODUCTION
    hints = get_type_hints(StageConfig)
    for section in sorted(parts, key=lambda name: (name != "", list(parts).index(name))):
        about = hints[section].__doc__ if section and isinstance(hints[section], type) else ""
        text += f"\n## {section or 'At the top of the file'}\n\n" + (f"{about}\n\n" if about else "")
        text += "| key | type | range | default | meaning |\n|---|---|---|---|---|\n"
        for key in parts[section]:
            text += f"| `{key.path}` | {key.type} | {key.range} | {key.default} | {key.meaning} |\n"
    return text


def main(path: Path = PAGE) -> int:
    """Write the page."""
    path.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
