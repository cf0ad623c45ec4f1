"""The metric set a deployment watches: names, units, what a value can be and which change of it matters."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any

from treeline.core.setting import Settings, WrongSettingError, setting

# How far beyond its range a value may lie to count as measured imprecisely: CPU of 100.4 % is rounding, of 250 % a bug.
CLAMPED_SHARE = 0.05


class Direction(StrEnum):
    """On which side of the expected value a metric's deviation matters."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Settings):
    """One metric: a value outside [minimum, maximum] cannot be, a deviation smaller than declared opens no incident."""

    name: str = setting(meaning="As records call it.")
    unit: str = setting("", meaning="As pages show it.")
    minimum: float = setting(-math.inf, meaning="Smallest value that can be.")
    maximum: float = setting(math.inf, meaning="Largest value that can be.")
    direction: Direction = setting(
        Direction.BOTH, choices=tuple(Direction), meaning="On which side of the expected value a deviation matters."
    )
    minimum_deviation: float = setting(
        0.0, low=0.0, meaning="Smallest distance from the expected value that matters, in the metric's unit."
    )
    minimum_relative_deviation: float = setting(
        0.0, low=0.0, meaning="The same as a share of the expected value; both must be reached, or nearly all be gone."
    )
    saturated_above: float | None = setting(
        None, meaning="From this value on the resource is used up, whatever is usual; null: it never is."
    )

    @property
    def clamped_range(self) -> tuple[float, float]:
        """The lowest and highest value that is taken as `minimum` or `maximum`; one beyond them is set aside.

        The share is of the range's width where both ends are declared, as a range says itself what is small in it;
        else of the one end's size. So a range from 0 on takes nothing below 0: no unit says what would be near it.
        """
        has_both = math.isfinite(self.minimum) and math.isfinite(self.maximum)
        width = self.maximum - self.minimum
        below, above = (width, width) if has_both else (abs(self.minimum), abs(self.maximum))
        return self.minimum - CLAMPED_SHARE * below, self.maximum + CLAMPED_SHARE * above

    def check(self) -> None:
        """Is there a value that fits, and can it reach what is called saturated?"""
        if not self.minimum < self.maximum:
            raise WrongSettingError("minimum", f"must be below maximum {self.maximum}, got {self.minimum}")
        if self.saturated_above is not None and not self.minimum < self.saturated_above <= self.maximum:
            expected = f"must be above minimum {self.minimum} and at most maximum {self.maximum}"
            raise WrongSettingError("saturated_above", f"{expected}, got {self.saturated_above}")


# The deviations are what nobody wants to be woken for, however steady a server is: CPU 2 -> 5 %, memory 60 -> 62 %,
# a few packets or writes on an idle machine. They hold upwards and downwards; a fall to nothing always counts.
DEFAULT_METRICS: tuple[Metric, ...] = (
    Metric(
        name="cpu_percent",
        unit="%",
        minimum=0.0,
        maximum=100.0,
        minimum_deviation=4.0,
        minimum_relative_deviation=0.1,
        saturated_above=97.0,
    ),
    Metric(
        name="memory_percent",
        unit="%",
        minimum=0.0,
        maximum=100.0,
        minimum_deviation=3.0,
        minimum_relative_deviation=0.05,
        saturated_above=97.0,
    ),
    Metric(name="network_mbps", unit="Mbit/s", minimum=0.0, minimum_deviation=1.0, minimum_relative_deviation=0.2),
    Metric(name="disk_iops", unit="1/s", minimum=0.0, minimum_deviation=10.0, minimum_relative_deviation=0.2),
)


def declared(names: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics by name, for data that come without a declaration.

    The default ones are as declared here; of any other nothing is known, and every deviation of it counts.
    """
    known = {metric.name: metric for metric in DEFAULT_METRICS}
    return tuple(known.get(name, Metric(name=name)) for name in names)


def from_json(rows: Sequence[Mapping[str, Any]]) -> tuple[Metric, ...]:
    """Read what `to_json` made, parsed."""
    given = [{**row, "direction": Direction(row.get("direction", Direction.BOTH))} for row in rows]
    return tuple(Metric(**row) for row in given)


def to_json(metrics: Sequence[Metric]) -> str:
    """The set as compact JSON, as a function's environment has it: name, unit and what differs from the defaults."""
    rows = []
    for metric in metrics:
        row: dict[str, object] = {"name": metric.name, "unit": metric.unit}
        for spec in fields(metric):
            value = getattr(metric, spec.name)
            if spec.default is not MISSING and value != spec.default:
                row[spec.name] = value
        rows.append(row)
    return json.dumps(rows, separators=(",", ":"))
