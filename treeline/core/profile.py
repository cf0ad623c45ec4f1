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


_FORM = "{name, unit, minimum, maximum}"


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
        rows = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"a metric set must be a JSON list of {_FORM}, got {text[:80]!r}") from error
    if not isinstance(rows, list):
        raise SettingsError(f"a metric set must be a JSON list of {_FORM}, got {text[:80]!r}")
    metrics = tuple(_metric(row) for row in rows)
    names = [m.name for m in metrics]
    if not names or len(set(names)) != len(names):
        raise SettingsError(f"a metric set needs distinct names, got {names}")
    return metrics


def _metric(row: object) -> Metric:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise SettingsError(f"a metric must be {_FORM} with a text name, got {row!r}")
    for field, value in row.items():
        if field in ("minimum", "maximum"):
            fits, expected = isinstance(value, int | float) and not isinstance(value, bool), "a number"
        elif field in ("name", "unit"):
            fits, expected = isinstance(value, str), "text"
        else:
            raise SettingsError(f"metric {row['name']}: {field}: unknown field; known: name, unit, minimum, maximum")
        if not fits:
            raise SettingsError(f"metric {row['name']}: {field} must be {expected}, got {value!r}")
    return Metric(**row)
