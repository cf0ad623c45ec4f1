"""What would have paged, from stored incidents; and the commands people type, refused in one line where wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cli.main import run
from cli.shadow_screen import show
from demo.incident_files import IncidentFolder, save
from report.console import wide_console
from tests.offline.test_explain import MemorySource, package, stored, whole  # noqa: F401 - fixtures
from training.evaluate.budget import Budget
from training.evaluate.pages import Tier
from training.evaluate.shadow_report import DAY_MS, shadow_report
from training.evaluate.stored_incidents import openings
from treeline.app.alert.controls import IncidentLabel
from treeline.app.explain.service import explain
from treeline.core.alert import Alert, AlertEvent, Clocks, MetricEvidence, Priority
from treeline.core.errors import UsageError
from treeline.core.times import iso
from treeline.forest.forest import RandomCutForest

DAY = 1_700_006_400_000


def alert(
    server, *, event=AlertEvent.OPENED, priority=Priority.P2, severity=2.0, hour=1, metric="cpu_percent", decided_s=0
):
    at, scored = iso(DAY + hour * 3_600_000), iso(DAY + hour * 3_600_000 + 1000 * decided_s)
    metrics = [MetricEvidence(name=metric, unit="%", measured=9.0, expected=1.0, low=0.0, high=2.0, deviation=8.0)]
    clocks = Clocks(first_anomalous_at=at, observed_at=at, received_at=at, scored_at=scored, published_at=at)
    return Alert(
        incident_id=f"{server}/{at}", sequence=1, event=event, priority=priority, server_id=server, dedup_key=server,
        severity=severity, score=1.0, threshold=0.5, metrics=metrics, clocks=clocks, model_version="m",
        suppressed="shadow",
    )  # fmt: skip


def report(*histories, budget=None, servers=30, days=1, labels=None, live=True):
    incidents = {history[0].incident_id: list(history) for history in histories}
    asked = budget and Budget.parse(f"{budget} per server-month", servers=servers)
    return shadow_report(
        incidents, labels or {}, start_ms=DAY, end_ms=DAY + days * DAY_MS, servers=servers, step_ms=60_000,
        by_wall_clock=live, budget=asked,
    )  # fmt: skip


def test_an_incident_counts_once_by_the_highest_priority_it_reached():
    risen = alert("a", event=AlertEvent.ESCALATED, priority=Priority.P1, severity=4.0, hour=2)
    calm = alert("a", event=AlertEvent.RESOLVED, priority=Priority.P1, severity=0.1)
    found = report([alert("a"), risen, calm], [alert("b", metric="disk_iops")])
    assert found.pages == {Tier.P1: 1, Tier.ALL: 2}
    assert found.by_server() == [("a", 1, 0), ("b", 0, 1)]
    assert found.by_metric() == [("cpu_percent", 1, 0), ("disk_iops", 0, 1)]
    assert found.server_months == pytest.approx(1.0)
    assert found.to_json()["pages_per_server_month"] == {"P1": 1.0, "P1+P2": 2.0}


def test_only_what_opened_in_the_days_counts():
    days = report([alert("a", hour=23)], [alert("b", hour=24)], [alert("c", hour=-1)])
    assert [incident.server_id for incident in days.incidents] == ["a"]
    assert days.pages[Tier.ALL] == 1


def test_servers_that_open_in_one_step_and_are_decided_together_are_one_page():
    together = [[alert(f"s{i}", decided_s=i)] for i in range(3)]
    apart = [[alert(f"s{i}", decided_s=3 * i)] for i in range(3)]
    assert report(*together).pages[Tier.ALL] == 1
    assert report(*apart).pages[Tier.ALL] == 3
    assert report(*apart, live=False).pages[Tier.ALL] == 1, "in a replay all of a step is decided at once"
    assert len(report(*together).incidents) == 3


def test_a_muted_incident_opens_once_and_rises_once():
    """Its opening is stored as `suppressed`; what people are told when the mute ends is no second opening."""
    muted, risen = AlertEvent.SUPPRESSED, Priority.P1
    told_late = alert("a", event=AlertEvent.OPENED, priority=risen, severity=4.0, hour=3)
    history = [alert("a", event=muted), alert("a", event=muted, priority=risen, hour=2), told_late]
    found = openings({"a/x": history}, by_wall_clock=False)
    assert [(o.at_ms - DAY, o.priority) for o in found] == [(3_600_000, "P2"), (7_200_000, "P1")]
    assert len(openings({"a/x": [told_late]}, by_wall_clock=False)) == 1


def test_a_budget_keeps_the_most_severe_and_names_where_that_begins():
    found = report(*[[alert(f"s{i}", severity=1.6 + 0.1 * i, hour=i)] for i in range(10)], budget="0 P1 and 3 P2")
    p1, every = found.fits
    assert (p1.pages, p1.kept, p1.severity_at_least) == (0, 0, 3.0)
    assert (every.tier, every.pages, every.kept) == (Tier.ALL, 10, 3)
    assert every.severity_at_least == pytest.approx(2.3)


def test_pages_of_equal_severity_stand_or_fall_together():
    _, every = report(*[[alert(f"s{i}", hour=i)] for i in range(4)], budget="0 P1 and 2 P2").fits
    assert every.kept == 0
    assert every.severity_at_least > 2.0


def test_an_event_takes_one_page_of_a_budget_and_falls_apart_without_its_weakest():
    event = [[alert(f"s{i}", severity=2.0 + 0.1 * i)] for i in range(3)]
    _, every = report(*event, budget="0 P1 and 1 P2").fits
    assert (every.pages, every.kept, every.severity_at_least) == (1, 1, 1.5)
    _, every = report(*event, [alert("z", hour=5, severity=1.9)], budget="0 P1 and 1 P2").fits
    assert (every.pages, every.kept, every.severity_at_least) == (2, 1, 2.0)
    _, every = report(*event, [alert("z", hour=5, severity=2.05)], budget="0 P1 and 1 P2").fits
    assert (every.pages, every.kept, every.severity_at_least) == (2, 1, 2.2)


def test_a_budget_that_suffices_changes_nothing():
    p1, every = report([alert("a")], [alert("b", hour=2)], budget="1 P1 and 1 P2").fits
    assert (p1.kept, p1.severity_at_least) == (0, 3.0)
    assert (every.allowed, every.kept, every.severity_at_least) == (2, 2, 1.5)


def test_what_people_say_of_incidents_is_counted():
    one, two = alert("a"), alert("b")
    label = IncidentLabel(
        incident_id=two.incident_id, server_id="b", is_incident=False, start_ms=0, end_ms=1, by="ann", created_ms=0
    )
    assert report([one], [two], labels={two.incident_id: label}).to_json()["labelled"] == {
        "true": 0,
        "false": 1,
        "none": 1,
    }


@pytest.fixture(scope="module")
def folder(package, whole, tmp_path_factory):  # noqa: F811
    store = stored(package, whole, {"memory_percent": 90.0}, batch=100)
    source = MemorySource(store)
    rows = np.random.default_rng(1).normal(size=(600, len(package.features)))
    forest = RandomCutForest.fit(rows, num_trees=5, seed=1)
    path = tmp_path_factory.mktemp("run")
    save(
        path / "incidents", source, source.incidents,
        package=package, forest=forest, watched=(DAY, DAY + DAY_MS), server_count=10,
    )  # fmt: skip
    return path, source


def test_a_run_s_folder_explains_as_the_tables_did(folder):
    path, source = folder
    kept = IncidentFolder(path)
    [incident_id] = kept.incidents()
    kept.scorer = lambda version: (source.score, "memory")
    there, here = (explain(s, incident_id, reproduce=True) for s in (source, kept))
    assert here.to_json() == there.to_json()
    assert here.reproduction.is_equal


def test_the_command_explains_from_a_folder_and_says_by_its_exit_code_that_another_forest_decided(folder, capsys):
    path, source = folder
    [incident_id] = source.incidents
    assert run(["explain", incident_id, "--run", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["incident_id"] == incident_id
    assert run(["explain", incident_id, "--run", str(path), "--reproduce"]) == 1
    assert "DIFFERENT" in capsys.readouterr().out
    assert run(["incident", "list", "--run", str(path)]) == 0
    assert incident_id in capsys.readouterr().out
    assert run(["shadow", "report", "--run", str(path), "--budget", "1 P1 and 2 P2 per server-month"]) == 0
    assert "pages allowed" in capsys.readouterr().out


MUTE = ["mute", "add", "--reason", "r", "--by", "ann"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([*MUTE, "--server", "a"], "--until"),
        ([*MUTE, "--for", "1h"], "--server"),
        ([*MUTE, "--server", "a", "--fleet", "--for", "1h"], "not allowed"),
        ([*MUTE, "--server", "a", "--for", "soon"], "soon"),
        ([*MUTE, "--server", "a", "--for", "0h"], "0h"),
        ([*MUTE, "--server", "", "--for", "1h"], "--server"),
        ([*MUTE, "--label", "tier", "--for", "1h"], "NAME=VALUE"),
        ([*MUTE, "--label", "a=1", "--label", "a=2", "--for", "1h"], "twice"),
        ([*MUTE, "--server", "a", "--from", "2026-01-02", "--until", "2026-01-01"], "before it starts"),
        ([*MUTE, "--server", "a", "--until", "tomorrow"], "tomorrow"),
        ([*MUTE[:4], "--server", "a", "--for", "1h"], "--by"),
        (["mute", "add", "--reason", " ", "--by", "b", "--server", "a", "--for", "1h"], "--reason"),
        (["maintenance", "add", "--fleet", "--reason", "r", "--by", "b"], "--until"),
        (["incident", "label", "a/b", "perhaps", "--by", "ann"], "perhaps"),
        (["incident", "label", "a/b", "true"], "--by"),
        (["incident", "list", "--days", "0"], "--days"),
        (["incident", "list", "--run", "/nowhere"], "/nowhere"),
        (["shadow", "report", "--days", "-1"], "--days"),
        (["shadow", "report", "--budget", "cheap"], "cheap"),
        (["shadow", "report", "--alarm-prefix", "web-"], "--against-alarms"),
        (["shadow", "report", "--run", "/nowhere", "--against-alarms"], "--stage"),
        (["shadow", "report", "--run", "/nowhere", "--days", "7"], "leave them out"),
        (["shadow", "report", "--run", "/nowhere", "--until", "2026-10-31"], "leave them out"),
        (["shadow", "report", "--run", "/nowhere", "--incidents", "i.csv"], "treeline demo --incidents"),
        (["shadow", "report", "--against-alarms", "--days", "31"], "30 days"),
        (["shadow", "report", "--against-alarms", "--days", "1", "--until", "2020-01-01"], "30 days"),
        (["explain", "a/b", "--run", "/nowhere"], "/nowhere"),
        (["explain", "a/b", "--stage", "local", "--port", "0"], "--port"),
    ],
)
def test_wrong_use_is_one_line_that_names_it(words, named):
    with pytest.raises(UsageError) as error:
        run(words)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_an_incident_a_run_does_not_have_is_refused_with_those_it_has(folder):
    path, source = folder
    with pytest.raises(UsageError, match=next(iter(source.incidents))):
        run(["explain", "web-03/never", "--run", str(path)])


def test_a_quiet_history_has_no_pages():
    empty = report()
    assert empty.to_json()["pages"] == {"P1": 0, "P1+P2": 0}
    assert replace(empty, servers=0).to_json()["pages_per_server_month"] == {"P1": None, "P1+P2": None}


@pytest.mark.parametrize(("servers", "rows", "rest"), [(10, 10, ""), (11, 11, ""), (12, 10, "and 2 more (servers)")])
def test_a_row_is_not_cut_for_a_line_that_says_so(servers, rows, rest, capsys):
    show(report(*([alert(f"web-{i:02d}", hour=i)] for i in range(servers))), wide_console())
    told = capsys.readouterr().out
    assert sum(line.strip().startswith("web-") for line in told.splitlines()) == rows
    assert rest in told
    assert ("more (servers)" in told) == bool(rest)
