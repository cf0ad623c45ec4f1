"""The month's table: what is counted as a page, and that every rule stands beside ours."""

import json
import sys

from benchmarks.month import grouped, main
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
    # Services that work at 85 to 95 % CPU by day are no trouble, and page all the same.
    assert rows["static alarms"]["false_pages"] > 30
    assert rows["Treeline, P1"]["pages"] <= rows["Treeline, P1+P2"]["pages"]
