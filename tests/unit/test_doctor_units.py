"""`treeline doctor` asks whether percent come as percent."""

from dataclasses import replace

import pytest

from cli.doctor.checks import CheckState
from cli.doctor.units import percent_values
from stacks.config import stage as config
from treeline.core.profile import Metric
from treeline.core.times import iso

NOW_MS = 1_700_006_400_000
STAGE = config.load("prod")


class Observations:
    """The table's index by group, as a client's paginator reads it."""

    def __init__(self, *rows):
        self.items = [
            {"group": group, "sort": f"{iso(NOW_MS - 60_000 * minutes_ago)}#{server}", "server_id": {"S": server},
             "metrics": {"M": {name: {"N": str(value)} for name, value in metrics.items()}}}
            for group, server, minutes_ago, metrics in rows
        ]  # fmt: skip

    def get_paginator(self, operation):
        assert operation == "query"
        return self

    def paginate(self, *, IndexName, ExpressionAttributeValues, **_):  # noqa: N803 - boto3's spelling
        assert IndexName == "by-group"
        group, start = int(ExpressionAttributeValues[":group"]["N"]), ExpressionAttributeValues[":start"]["S"]
        yield {"Items": [item for item in self.items if item["group"] == group and item["sort"] >= start]}


def asked(*rows, stage=STAGE):
    return percent_values(Observations(*rows), "observations", stage, NOW_MS)


def test_a_fleet_that_sends_ratios_is_told_so_with_its_servers():
    found = asked(
        *((group, f"web-{group}", minute, {"cpu_percent": 0.4, "memory_percent": 61.5, "disk_iops": 0.5})
          for group in range(5) for minute in (50, 10)),
    )  # fmt: skip

    assert found.state is CheckState.TODO
    assert found.found == (
        "probably a ratio: cpu_percent of web-0, web-1, web-2 and 2 more, within 0 to 1 for the last hour"
    )
    assert "0 to 100" in found.do


def test_one_idle_server_of_three_is_named_and_nothing_is_asked_for():
    found = asked(*((0, f"s{i}", 5, {"cpu_percent": value}) for i, value in enumerate((0.3, 30.0, 40.0))))

    assert found.state is CheckState.OK
    assert "probably a ratio: cpu_percent of s0, within" in found.found


@pytest.mark.parametrize(
    "rows",
    [
        [(0, "s", 5, {"cpu_percent": 0.4}), (0, "s", 4, {"cpu_percent": 40.0})],
        [(0, "s", 5, {"cpu_percent": 0.0})],
        [(0, "s", 61, {"cpu_percent": 0.4})],
        [(0, "s", 5, {"disk_iops": 0.4})],
        [],
    ],
)
def test_percent_zeros_old_values_and_other_units_are_no_finding(rows):
    found = asked(*rows)

    assert (found.state, "probably" in found.found) == (CheckState.OK, False)


def test_a_stage_without_percent_is_not_read():
    assert asked(stage=replace(STAGE, metrics=(Metric(name="load"),))).found == "no metric is in percent"
