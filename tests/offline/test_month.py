"""The month's table: what is counted as a page, and that every rule stands beside ours."""

import json
import sys

from benchmarks.month import Row, fewer, grouped, main
from training.evaluate.pages import Opening

MINUTE_MS = 60_000


def test_pages_of_one_server_less_than_an_hour_apart_are_one_when_grouped():
    at = {"a": (0, 59, 118, 178, 240), "b": (30,)}
    sent = [Opening(server_id=s, at_ms=m * MINUTE_MS, priority="P1") for s, minutes in at.items() for m in minutes]
    assert grouped(sent) == 4  # at 0, 178 and 240 of a, and b's


def test_a_small_month_has_a_row_for_each_rule_and_both_of_ours(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["month", "--servers", "10", "--step", "1800", "--seed", "3", "--json"])
    main()
    told = json.loads(capsys.readouterr().out)
    rows = {row["detector"]: row for row in told["rows"]}
    assert list(rows) == [
        *("static alarms", "mean + 3 sigma", "EMA + 3 sigma", "rolling z-score"),
        *("Treeline, P1", "Treeline, P1+P2"),
    ]
    assert all(row["grouped"] <= row["pages"] and row["hits"] <= row["labels"] for row in rows.values())
    assert len({row["labels"] for row in rows.values()}) == 1
    assert all(0 <= row["month_end_hits"] <= row["month_end_labels"] <= row["labels"] for row in rows.values())
    # Three days of thirty, with up to twice the load.
    assert 0.1 < rows["static alarms"]["month_end_pages"] / rows["static alarms"]["pages"] < 0.3
    # Services that work at 85 to 95 % CPU by day are no trouble, and page all the same.
    assert rows["static alarms"]["false_pages"] > 30
    assert rows["Treeline, P1"]["pages"] <= rows["Treeline, P1+P2"]["pages"]


def test_fewer_is_told_beside_fixed_limits():
    def row(detector: str, pages: int) -> Row:
        judged = {"hits": 1, "labels": 1, "false_pages": 0, "precision": None, "recall": None}
        end = {"month_end_pages": 0, "month_end_hits": 0, "month_end_labels": 0}
        return Row(detector=detector, pages=pages, grouped=pages, **judged, **end)

    rows = [row("static alarms", 200), row("mean + 3 sigma", 900), row("ours, P1", 12), row("ours, P1+P2", 25)]
    assert fewer(rows) == "Fewer pages than static alarms: ours, P1 94.0%, ours, P1+P2 87.5%"
    assert fewer([row("static alarms", 0), *rows[1:]]) == "static alarms: no page"
