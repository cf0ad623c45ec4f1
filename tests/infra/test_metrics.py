"""What the functions write to CloudWatch, what is drawn and what is watched: one declaration, nothing left over."""

import ast
import re
from pathlib import Path

import pytest

from tests.infra.templates import Stage, told
from treeline.app.metrics import NAMESPACE, OwnMetric

ROOT = Path(__file__).resolve().parents[2]


def shown(stage: Stage) -> set[str]:
    """Names of our metrics on dashboards and in alarms."""
    names = {
        name
        for body in stage.resources("AWS::CloudWatch::Dashboard").values()
        for name in _drawn(told(body["DashboardBody"]))
    }
    for alarm in stage.resources("AWS::CloudWatch::Alarm").values():
        if alarm.get("Namespace") == NAMESPACE:
            names.add(alarm["MetricName"])
    return names


def _drawn(body: str) -> set[str]:
    text = body.replace("\\", "")
    plain = re.findall(rf'\["{NAMESPACE}","(\w+)"', text)
    searched = re.findall(rf'{{{NAMESPACE},[^}}]*}} MetricName="(\w+)"', text)
    return {*plain, *searched}


def written() -> dict[str, set[str]]:
    """Metrics that the functions' code names, each with the files that do."""
    names: dict[str, set[str]] = {}
    for path in [*(ROOT / "treeline").rglob("*.py"), *(ROOT / "lambdas").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "OwnMetric":
                names.setdefault(node.attr, set()).add(str(path.relative_to(ROOT)))
    return names


def test_every_metric_is_written():
    """A name on a dashboard that no function writes is a graph that stays empty for ever."""
    assert set(written()) == {metric.name for metric in OwnMetric}


def test_every_metric_is_drawn_or_watched(stage: Stage):
    """One that nobody can see is paid for in vain."""
    assert shown(stage) == {metric.name for metric in OwnMetric}


@pytest.mark.parametrize("metric", OwnMetric)
def test_a_declaration_says_who_writes_what(metric):
    folders = {path.name for path in (ROOT / "lambdas").iterdir() if (path / "handler.py").is_file()}
    assert set(metric.functions) <= folders
    assert metric.meaning
