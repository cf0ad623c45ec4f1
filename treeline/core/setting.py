"""One declaration a setting: default, range or choices, and meaning stand where the key is.

From it come the check of a stage's file, a function's environment (treeline/settings) and docs/settings.md.
"""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from treeline.core.errors import SettingsError


class WrongSettingError(SettingsError):
    """A setting's value cannot be; `key` is the field's name, `why` what is wrong with it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key, self.why = key, why


@dataclass(frozen=True, slots=True)
class Setting:
    """What a key means and which values it takes; a limit of None is none, `above` excludes itself."""

    meaning: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] = ()

    def allows(self, value: Any) -> bool:
        """Whether `value`, of the field's type, may be."""
        if self.choices:
            return value in self.choices
        return (
            (self.low is None or self.low <= value)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )

    @property
    def expected(self) -> str:
        """What `allows` asks for, to follow "must be"; empty where anything goes."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.high is not None:
            start = f"[{self.low}" if self.above is None else f"({self.above}"
            return f"in {start}, {self.high}]"
        if self.above is not None:
            return f"above {self.above}"
        return "" if self.low is None else f"at least {self.low}"


def setting(
    default: Any = MISSING,
    *,
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Sequence[Any] = (),
) -> Any:
    """A field of `Settings`. A default that can be called (a section's class) is made anew. None passes any limit."""
    how = {"default_factory" if callable(default) else "default": default}
    return field(metadata={"setting": Setting(meaning, low, high, above, tuple(choices))}, **how)


class Settings:
    """Base of frozen dataclasses whose values are checked when they are made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check each field's own limits, then what the fields say together."""
        for spec in fields(self):  # type: ignore[arg-type] # every subclass is a dataclass
            declared: Setting | None = spec.metadata.get("setting")
            value = getattr(self, spec.name)
            if declared is not None and value is not None and not declared.allows(value):
                raise WrongSettingError(spec.name, f"must be {declared.expected}, got {value!r}")
        self.check()

    def check(self) -> None:
        """What no field can say alone; raises WrongSettingError or SettingsError."""
