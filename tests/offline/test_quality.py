"""What counts as worse than recorded."""

import numpy as np
import pytest
from rich.console import Console

from report.quality_table import markdown, tables
from training.evaluate.judge import evaluate_tiers
from training.evaluate.pages import Opening
from training.evaluate.quality import RECORDED, RecordedFigures, figures
from training.history.labels import Label
from training.history.observed import ObservedTimes
from treeline.core.errors import UsageError

DAY = 86_400_000
LABELS = [Label(server_id="web-1", start_ms=at, end_ms=at + 60_000) for at in range(0, 5 * DAY, DAY)]


def reached(hits: int, false: int):
    pages = [Opening(server_id="web-1", at_ms=i * DAY, priority="P1", incident_id=f"h{i}") for i in range(hits)]
    pages += [
        Opening(server_id="web-1", at_ms=i * DAY + DAY // 2, priority="P1", incident_id=f"f{i}") for i in range(false)
    ]
    return evaluate_tiers(
        LABELS, pages, observed={"web-1": ObservedTimes(np.arange(0, 5 * DAY, 60_000))}, step_ms=60_000
    )


RECORD = RecordedFigures(tolerance={"precision": 0.1, "recall": 0.05}, sets={"asd": figures(reached(4, 1))})


def test_the_same_and_better_pass():
    assert list(RECORD.shortfalls({"asd": figures(reached(4, 1))})) == []
    assert list(RECORD.shortfalls({"asd": figures(reached(5, 0))})) == []


@pytest.mark.parametrize(("hits", "false", "figure"), [(3, 0, "recall"), (4, 3, "precision"), (0, 0, "precision")])
def test_a_fall_beyond_the_tolerance_is_a_shortfall_in_each_tier(hits, false, figure):
    short = list(RECORD.shortfalls({"asd": figures(reached(hits, false))}))
    assert {(s.tier, s.figure) for s in short} >= {("P1", figure), ("P1+P2", figure)}
    assert "recorded 0.800" in str(short[0])


def test_a_fall_within_the_tolerance_passes():
    assert list(RECORD.shortfalls({"asd": figures(reached(4, 1)), "new": figures(reached(0, 9))})) == []
    loose = RecordedFigures(tolerance={"precision": 0.5, "recall": 0.5}, sets=RECORD.sets)
    assert list(loose.shortfalls({"asd": figures(reached(3, 2))})) == []


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "q.yaml"
    RECORD.with_figures({"smd": figures(reached(2, 2))}).write(path)
    again = RecordedFigures.read(path)
    assert set(again.sets) == {"asd", "smd"}
    assert again.sets["asd"] == RECORD.sets["asd"]
    path.write_text("- nothing\n")
    with pytest.raises(UsageError, match="no recorded figures"):
        RecordedFigures.read(path)


def test_the_record_in_the_repository_can_be_read():
    assert 0 < RecordedFigures.read(RECORDED).tolerance["precision"] <= 0.1


def test_the_table_has_a_row_for_each_tier_with_intervals():
    lines = markdown({"asd": reached(4, 1)}).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| asd | P1 | 4/5 | 1 | 0.80 (")


def test_detectors_beside_each_other_fit_a_terminal_of_80_columns(capsys):
    many = {name: reached(5, 4) for name in ("Treeline", "IsolationForest", "rolling z-score")}
    for table in tables(many, named="on generated", intervals=False):
        Console(width=80).print(table)
    told = capsys.readouterr().out
    assert "on generated" in told
    assert "IsolationForest" in told
    assert "rolling z-score" in told
    assert "\N{HORIZONTAL ELLIPSIS}" not in told
