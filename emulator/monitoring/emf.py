"""Read CloudWatch's embedded metric format out of log lines. Pure.

Specification: "CloudWatch embedded metric format", AWS documentation, version 0.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One value for one metric and one set of dimensions."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: dict[str, str]


def metric_values(line: str) -> Iterator[MetricValue]:
    """Every metric value a log line carries; none for a line that is not embedded metric format."""
    if '"_aws"' not in line or not line.startswith("{"):
        return
    try:
        document = json.loads(line)
    except ValueError:
        return
    header = document.get("_aws")
    if not isinstance(header, Mapping):
        return
    for directive in header.get("CloudWatchMetrics", []):
        yield from _directive_values(document, directive)


def _directive_values(document: Mapping[str, Any], directive: Mapping[str, Any]) -> Iterator[MetricValue]:
    for names in directive.get("Dimensions") or [[]]:
        if any(name not in document for name in names):
            continue
        dimensions = {name: str(document[name]) for name in names}
        for metric in directive.get("Metrics", []):
            values = document.get(metric["Name"])
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    unit = metric.get("Unit", "None")
                    yield MetricValue(directive["Namespace"], metric["Name"], float(value), unit, dimensions)
