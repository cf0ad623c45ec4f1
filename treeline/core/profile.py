"""The metric set a deployment watches: names, units and the range a value may have."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from treeline.core.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; values outside [minimum, maximum] are refused by ingest."""

    name: str
    unit: str = ""
    minimum: float = -math.inf
    maximum: float = math.inf


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


def from_json(text: str) -> tuple[Metric, ...]:
    """Read a metric set; raises SettingsError when it is empty, repeats a name or is not of the form above."""
    try:
        metrics = tuple(Metric(**row) for row in json.loads(text))
    except (TypeError, ValueError) as error:
        raise SettingsError(f"a metric set is a JSON list of {{name, unit, minimum, maximum}}: {error}") from error
    names = [m.name for m in metrics]
    if not names or len(set(names)) != len(names):
        raise SettingsError(f"a metric set needs distinct names, got {names}")
    return metrics
