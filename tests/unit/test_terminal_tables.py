"""What a terminal is told beside the two tiers: hits by kind, the demo's misses, servers that were never judged."""

import io

import numpy as np
from rich.console import Console

from demo.results import ReplayResult
from demo.screen import DemoScreen
from report.data import Accounting
from report.quality_table import kind_table
from report.traces import never_judged, never_judged_line
from training.evaluate.backtest import Trace
from training.evaluate.judge import evaluate_tiers
from training.evaluate.pages import Opening, Tier
from training.history.grid import Grid
from training.history.labels import Label
from training.history.observed import ObservedTimes

MINUTE = 60_000
START = 1_700_006_400_000


def judged(*kinds):
    """One label of each kind, ten hours apart; the first is hit two minutes after it began."""
    labels = [
        Label(server_id="web[1]", start_ms=START + i * 600 * MINUTE, end_ms=START + (i * 600 + 60) * MINUTE, kind=kind)
        for i, kind in enumerate(kinds, start=1)
    ]
    opening = Opening(server_id="web[1]", at_ms=labels[0].start_ms + 2 * MINUTE, priority="P1", incident_id="web[1]/x")
    observed = {"web[1]": ObservedTimes(START + MINUTE * np.arange(3000))}
    return evaluate_tiers(labels, [opening], observed=observed, step_ms=MINUTE)


def lines(*shown):
    """Each line as its words."""
    console = Console(file=io.StringIO(), width=200)
    for each in shown:
        console.print(each)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_hits_are_counted_by_kind():
    table = kind_table(judged("cpu_spike", "cpu_spike", "leak[1]")[Tier.ALL])
    told = lines(table)
    assert ["cpu_spike", "2", "1", "1", "0.50", "2", "min", "-"] in told
    assert ["leak[1]", "1", "0", "0", "0.00", "-", "-"] in told


def test_labels_without_a_kind_have_no_table_of_kinds():
    assert kind_table(judged("", "")[Tier.ALL]) is None


def test_the_demo_tells_which_values_were_set_aside():
    result = ReplayResult(
        accounting=Accounting(
            sent=9, stored=9, quarantined=0, scored=9, warming_up=0, lost=0, values_set_aside={"metric_not_finite": 4}
        ),
        evaluations={}, clocks=(), incidents={}, reproduced=True, records_per_s=1.0, faults={},
    )  # fmt: skip
    screen = DemoScreen(as_json=False)
    screen.console = Console(file=io.StringIO(), width=200)
    screen.scoreboard(result)
    assert "values set aside, the rest of their records stored: metric_not_finite 4" in screen.console.file.getvalue()


def test_the_demo_lists_what_it_missed():
    result = ReplayResult(
        accounting=Accounting(sent=1, stored=1, quarantined=0, scored=1, warming_up=0, lost=0),
        evaluations=judged("cpu_spike", "leak"), clocks=(), incidents={}, reproduced=True, records_per_s=1.0, faults={},
    )  # fmt: skip
    screen = DemoScreen(as_json=False)
    screen.console = Console(file=io.StringIO(), width=200)
    screen.scoreboard(result)
    told = screen.console.file.getvalue()
    assert "Missed: 1;" in told
    assert ["2023-11-15T20:00Z", "web[1]", "leak"] in [line.split() for line in told.splitlines()]
    assert "By kind" in told


def test_a_server_that_was_observed_and_never_scored_is_named():
    values = np.full((5, 3, 2), 1.0, dtype=np.float32)
    values[:, 2] = np.nan  # absent throughout
    grid = Grid(START + MINUTE * np.arange(5), ("scored", "new", "absent"), ("a", "b"), values, 60.0)
    severity = np.full((5, 3), np.nan, dtype=np.float32)
    severity[4, 0] = 0.1
    assert never_judged(grid, Trace(severity, severity, severity, None)) == ("new",)


def test_the_line_names_a_few_of_them():
    assert never_judged_line(()) == ""
    assert never_judged_line(("a",)) == "1 server was never judged: warming up (a)"
    many = tuple("abcdefgh")
    assert never_judged_line(many) == "8 servers were never judged: warming up (a, b, c, d, e and 3 more)"
