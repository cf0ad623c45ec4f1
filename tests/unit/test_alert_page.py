"""docs/alert.md names every field that receivers get, and no other."""

import re
from dataclasses import fields
from pathlib import Path

from tests.unit.paging_fakes import alert
from treeline.core.alert import ImplyingMetric, MetricEvidence

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "alert.md").read_text(encoding="utf-8")


def documented(part: str) -> set[str]:
    """What stands in the first column of a part's table."""
    cells = re.findall(r"^\| (`.+?) \|", part, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_field_of_the_alert_and_of_a_metric_is_documented():
    whole, metric = PAGE.split("## One metric")
    assert documented(whole) == set(alert().to_json())
    assert documented(metric) == {field.name for field in fields(MetricEvidence)}
    assert all(f"`{field.name}`" in metric for field in fields(ImplyingMetric))
