"""The metric set a deployment watches: names, units and the range a value may have."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from treeline.core.setting import Settings, WrongSettingError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Settings):
    """One metric; ingest refuses values outside [minimum, maximum]."""

    name: str = setting(meaning="As records call it.")
    unit: str = setting("", meaning="As pages show it.")
    minimum: float = setting(-math.inf, meaning="Smallest value that can be.")
    maximum: float = setting(math.inf, meaning="Largest value that can be.")

    def check(self) -> None:
        """Is there a value that fits?"""
        if not self.minimum < self.maximum:
            raise WrongSettingError("minimum", f"must be below maximum {self.maximum}, got {self.minimum}")


DEFAULT_METRICS: tuple[Metric, ...] = (
    Metric(name="cpu_percent", unit="%", minimum=0.0, maximum=100.0),
    Metric(name="memory_percent", unit="%", minimum=0.0, maximum=100.0),
    Metric(name="network_mbps", unit="Mbit/s", minimum=0.0),
    Metric(name="disk_iops", unit="1/s", minimum=0.0),
)


def to_json(metrics: Sequence[Metric]) -> str:
    """The set as compact JSON; an absent bound is infinite."""
    rows = []
    for m in metrics:
        row: dict[str, object] = {"name": m.name, "unit": m.unit}
        if math.isfinite(m.minimum):
            row["minimum"] = m.minimum
        if math.isfinite(m.maximum):
            row["maximum"] = m.maximum
        rows.append(row)
    return json.dumps(rows, separators=(",", ":"))
