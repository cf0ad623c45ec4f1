"""What the widgets show, asked of the deployed cloud by the calls that CloudWatch's own console makes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.dashboard.body import MetricSeries, Search, Widget, read
from emulator.loopback.clients import ClientOf

# What AWS's services measure of themselves and the embedded cloud does not.
WITHOUT_LOCAL_SOURCE = {
    "AWS/DynamoDB": "consumed capacity",
    "AWS/Kinesis": "the stream's own figures",
    "/aws/sagemaker/Endpoints": "the load of an instance",
}
_STEPS_S = (1, 5, 10, 30, 60, 300)
_POINTS = 120
_QUERIES = 100  # of one GetMetricData


@dataclass(frozen=True, slots=True)
class Line:
    """A drawn series: (epoch seconds, value), ascending."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A widget with what it shows; `note` says why there is nothing."""

    widget: Widget
    lines: Sequence[Line] = ()
    html: str = ""
    alarms: Sequence[tuple[str, str, str]] = ()  # name, state, description
    note: str = ""
    start: float = 0.0
    end: float = 0.0
    step_s: int = 60


def dashboards(clients: ClientOf) -> dict[str, str]:
    """Short name (fleet, detection, ...) -> name of every deployed dashboard, fleet first."""
    names = [e["DashboardName"] for e in clients("cloudwatch").list_dashboards()["DashboardEntries"]]
    short = {_short(name): name for name in names}
    return dict(sorted(short.items(), key=lambda item: (item[0] != "fleet", item[0] != "detection", item[0])))


def _short(name: str) -> str:
    tail = name.rsplit("observability-", 1)[-1]
    return tail.split("Dashboard")[0].lower() or name


def load(clients: ClientOf, name: str, *, start: datetime, end: datetime) -> list[Shown]:
    """Every widget of a deployed dashboard with its data of a time range."""
    widgets = read(clients("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
    step_s = step(end - start)
    known = _Known(clients("cloudwatch"))
    states = _alarm_states(clients("cloudwatch"))
    return [_show(clients, widget, known, states, start, end, step_s) for widget in widgets]


def step(span: timedelta) -> int:
    """Seconds between points, so that a range has at most about 120: a demo lasts minutes, a night hours."""
    return next((s for s in _STEPS_S if span.total_seconds() / s <= _POINTS), _STEPS_S[-1])


def _show(
    clients: ClientOf,
    widget: Widget,
    known: "_Known",
    states: Mapping[str, tuple[str, str, str]],
    start: datetime,
    end: datetime,
    step_s: int,
) -> Shown:
    if widget.kind in ("metric", "number"):
        is_mixed = len({search.name for search in widget.searches}) > 1
        found = [series for search in widget.searches for series in known.found(search)]
        named = [replace(s, label=f"{s.label} {s.name}") for s in found] if is_mixed else found
        wanted = [*widget.series, *named]
        lines = _lines(clients("cloudwatch"), wanted, start, end, step_s)
        note = "" if any(line.points for line in lines) else _why_empty(widget)
        return Shown(widget, lines, note=note, start=start.timestamp(), end=end.timestamp(), step_s=step_s)
    if widget.kind == "custom":
        answer = clients("lambda").invoke(FunctionName=widget.content, Payload=b'{"widgetContext": {}}')
        told = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            return Shown(widget, note=f"the widget's function failed: {told.get('errorMessage', told)}")
        return Shown(widget, html=str(told))
    if widget.kind == "alarm":
        return Shown(widget, alarms=[states[arn] for arn in widget.alarms if arn in states])
    if widget.kind == "text":
        return Shown(widget)
    return Shown(widget, note=f"widgets of type {widget.kind} have no local source")


def _why_empty(widget: Widget) -> str:
    sources = {s.namespace for s in widget.series} | {s.namespace for s in widget.searches}
    missing = sorted(sources & set(WITHOUT_LOCAL_SOURCE))
    if missing:
        what = "; ".join(f"{name} ({WITHOUT_LOCAL_SOURCE[name]})" for name in missing)
        return f"no local source: {what}"
    if widget.unsupported:
        return f"no local source: {widget.unsupported[0]}"
    return "nothing recorded so far"


class _Known:
    """Metrics that exist, for SEARCH; read once a page."""

    def __init__(self, cloudwatch: Any) -> None:
        self._metrics = [
            metric for page in cloudwatch.get_paginator("list_metrics").paginate() for metric in page["Metrics"]
        ]

    def found(self, search: Search) -> list[MetricSeries]:
        """The series a search stands for, labelled by the dimensions it left open."""
        result = []
        for metric in self._metrics:
            dimensions = {d["Name"]: d["Value"] for d in metric["Dimensions"]}
            if (
                metric["Namespace"] == search.namespace
                and metric["MetricName"] == search.name
                and set(dimensions) == search.dimensions
                and all(dimensions.get(k) == v for k, v in search.values.items())
            ):
                free = [v for k, v in sorted(dimensions.items()) if k not in search.values]
                label = " ".join(free) or search.name
                result.append(MetricSeries(search.namespace, search.name, dimensions, search.statistic, label))
        return sorted(result, key=lambda s: s.label)


def _lines(cloudwatch: Any, wanted: Sequence[MetricSeries], start: datetime, end: datetime, step_s: int) -> list[Line]:
    points: dict[str, list[tuple[float, float]]] = {}
    for offset in range(0, len(wanted), _QUERIES):
        queries = [
            {
                "Id": f"m{offset + index}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": series.namespace,
                        "MetricName": series.name,
                        "Dimensions": [{"Name": k, "Value": v} for k, v in series.dimensions.items()],
                    },
                    "Period": step_s,
                    "Stat": series.statistic,
                },
            }
            for index, series in enumerate(wanted[offset : offset + _QUERIES])
        ]
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=queries, StartTime=start, EndTime=end, ScanBy="TimestampAscending"
        )
        for result in answer["MetricDataResults"]:
            stamps = (t.astimezone(UTC).timestamp() for t in result["Timestamps"])
            points[result["Id"]] = sorted(zip(stamps, result["Values"], strict=True))
    return [Line(series.label, points.get(f"m{index}", [])) for index, series in enumerate(wanted)]


def _alarm_states(cloudwatch: Any) -> dict[str, tuple[str, str, str]]:
    found = {}
    for page in cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"]):
        for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ())):
            question = alarm.get("AlarmDescription", "").split(" Runbook: ")[0]
            found[alarm["AlarmArn"]] = (alarm["AlarmName"], alarm["StateValue"], question)
    return found
