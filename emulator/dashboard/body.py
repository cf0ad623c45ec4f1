"""A dashboard's body as GetDashboard returns it, read into widgets. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# SEARCH('{Namespace,Dim,Dim} Name="value" ...', 'Stat', period), the only expression our dashboards use.
_SEARCH = re.compile(r"^SEARCH\('\{(?P<schema>[^}]*)\}\s*(?P<terms>.*)',\s*'(?P<stat>[^']+)',\s*(?P<period>\d+)\)$")
_TERM = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """One metric to draw."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str
    label: str


@dataclass(frozen=True, slots=True)
class Search:
    """Every metric of a name with exactly these dimension names, some of them of a given value."""

    namespace: str
    dimensions: frozenset[str]
    name: str
    values: Mapping[str, str]
    statistic: str


@dataclass(frozen=True, slots=True)
class Widget:
    """One widget on the grid of 24 columns."""

    kind: str  # metric, number, text, custom, alarm, or what CloudWatch calls it
    title: str
    x: int
    y: int
    width: int
    height: int
    series: Sequence[MetricSeries] = ()
    searches: Sequence[Search] = ()
    lines: Sequence[tuple[float, str]] = ()  # thresholds with their labels
    unit: str = ""
    content: str = ""  # markdown of text, function's ARN of custom
    alarms: Sequence[str] = ()  # ARNs
    unsupported: Sequence[str] = field(default_factory=tuple)


def read(body: str) -> list[Widget]:
    """The widgets of a body, in reading order."""
    widgets = [_widget(raw) for raw in json.loads(body)["widgets"]]
    return sorted(widgets, key=lambda w: (w.y, w.x))


def _widget(raw: Mapping[str, Any]) -> Widget:
    properties = raw.get("properties", {})
    kind = raw["type"]
    if kind == "metric" and properties.get("view") == "singleValue":
        kind = "number"
    series, searches, unsupported = [], [], []
    for row in properties.get("metrics", ()):
        options = row[-1] if isinstance(row[-1], Mapping) else {}
        if "expression" in options:
            search = _search(options["expression"])
            if search is None:
                unsupported.append(options["expression"])
            else:
                searches.append(search)
            continue
        names = [part for part in row if not isinstance(part, Mapping)]
        series.append(
            MetricSeries(
                namespace=names[0],
                name=names[1],
                dimensions=dict(zip(names[2::2], names[3::2], strict=True)),
                statistic=options.get("stat", "Average"),
                label=options.get("label", names[1]),
            )
        )
    annotations = properties.get("annotations", {}).get("horizontal", ())
    return Widget(
        kind=kind,
        title=str(raw.get("properties", {}).get("title", "")),
        x=raw["x"],
        y=raw["y"],
        width=raw["width"],
        height=raw["height"],
        series=series,
        searches=searches,
        lines=[(float(a["value"]), str(a.get("label", ""))) for a in annotations],
        unit=str(properties.get("yAxis", {}).get("left", {}).get("label", "")),
        content=str(properties.get("markdown") or properties.get("endpoint") or ""),
        alarms=list(properties.get("alarms", ())),
        unsupported=unsupported,
    )


def _search(expression: str) -> Search | None:
    parts = _SEARCH.match(expression)
    if parts is None:
        return None
    namespace, *dimensions = (part.strip() for part in parts["schema"].split(","))
    terms = dict(_TERM.findall(parts["terms"]))
    return Search(namespace, frozenset(dimensions), terms.pop("MetricName"), terms, parts["stat"])
