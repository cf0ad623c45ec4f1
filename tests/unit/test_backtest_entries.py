"""Pages and misses of a backtest one by one: what a miss says of itself, and what a page of many servers is told as."""

from dataclasses import replace

import numpy as np
import pytest

from report.backtest.entries import BacktestPage, label_marks, miss_entries, page_entries
from report.backtest.evidence import DecidingChannel, page_cause
from report.backtest.held_back import held_back_entries
from training.evaluate.backtest import Backtest, Trace
from training.evaluate.experiment import ExperimentOutcome
from training.evaluate.judge import Verdict, evaluate_tiers
from training.evaluate.pages import Opening, Tier
from training.evaluate.pointwise import Pointwise
from training.history.grid import Grid
from training.history.labels import STANDARD, Label
from treeline.core.alert import AlertEvent, Priority
from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.evidence import Bands
from treeline.core.detection.policy import Change, PolicySettings
from treeline.core.severity import Thresholds
from treeline.core.times import iso

MINUTE = 60_000
START = 1_700_006_400_000
ROWS = 600


def at(minute):
    return START + minute * MINUTE


def grid_of(*servers):
    times = START + MINUTE * np.arange(ROWS)
    values = np.full((ROWS, len(servers), 2), 50.0, dtype=np.float32)
    return Grid(times, servers, ("cpu_percent", "memory_percent"), values, 60.0)


def detected(grid, severity, changes=()):
    bands = Bands.blank(grid.values.shape)
    bands.expected[:], bands.spread[:] = 50.0, 2.0
    return Backtest(list(changes), Trace(severity, severity, severity, bands))


def change(event, minute, opened):
    changed = Change(row=0, event=event, priority=Priority.P2, at=at(minute), opened_at=at(opened),
                  first_anomalous_at=at(opened), sequence=1, severity=2.0)  # fmt: skip
    return "web-1", changed


def judged(grid, labels, openings):
    return evaluate_tiers(labels, openings, observed=grid.observed(), step_ms=MINUTE)


def label(server="web-1", start=300, end=360):
    return Label(server_id=server, start_ms=at(start), end_ms=at(end), kind="cpu_spike")


def a_miss(severity=None, changes=(), openings=(), values=None):
    grid = grid_of("web-1")
    if values is not None:
        grid.values[:, 0] = values
    seen = np.full((ROWS, 1), 0.2, dtype=np.float32)
    for minute, value in (severity or {}).items():
        seen[minute, 0] = value
    run = detected(grid, seen, changes)
    every = judged(grid, [label()], openings)[Tier.ALL]
    (miss,) = miss_entries(every, grid, run)
    (mark,) = label_marks(every, grid, run)
    assert mark.seen == str(miss)
    return miss


def test_a_miss_below_p2_says_by_how_much_and_when_it_was_nearest():
    miss = a_miss({299: 9.0, 310: 1.2, 361: 9.0})
    assert (miss.why, miss.severity_at_ms) == ("below P2 by 0.30", at(310))
    assert miss.severity == pytest.approx(1.2)


def test_a_miss_names_the_metric_that_went_farthest_and_when():
    values = np.full((ROWS, 2), 50.0)
    values[299], values[320, 1], values[330, 0] = 99.0, 40.0, 56.0
    miss = a_miss(values=values)
    assert (miss.evidence.name, miss.evidence.measured, miss.evidence_at_ms) == ("memory_percent", 40.0, at(320))
    assert "memory 40 %, expected 50 (44 to 56) going by the last day" in str(miss)


def test_a_miss_of_single_observations_says_that_they_were_too_few():
    assert a_miss({310: 2.0}).why == "1 observation above P2, too few or too far apart"
    assert a_miss({310: 1.5, 340: 2.0}).why == "2 observations above P2, too few or too far apart"


def test_a_miss_inside_an_incident_that_was_open_says_so():
    opened, resolved = change(AlertEvent.OPENED, 200, 200), change(AlertEvent.RESOLVED, 280, 200)
    assert a_miss({310: 5.0}, [opened]).why == f"its incident of {iso(at(200))[:16]}Z was still open"
    assert a_miss({310: 1.0}, [opened, resolved]).why == "below P2 by 0.50"


def test_a_miss_that_was_paged_as_it_ended_says_so():
    opening = Opening(server_id="web-1", at_ms=at(359), priority="P1", incident_id="web-1/x")
    assert a_miss({358: 4.0, 359: 4.0}, openings=[opening]).why == f"paged as it ended, {iso(at(359))[:16]}Z"


def test_a_miss_of_which_nothing_was_scored_says_so():
    miss = a_miss(dict.fromkeys(range(300, 361), np.nan))
    assert (miss.why, miss.severity) == ("nothing was scored: absent, or warming up", None)
    assert miss.to_json()["highest_severity_at"] is None


def test_a_page_of_many_servers_is_one_entry_that_names_who_fell_on_a_label():
    servers = tuple(f"web-{i}" for i in range(4))
    grid = grid_of(*servers)
    openings = [
        Opening(server_id=s, at_ms=at(301), priority="P1" if s == "web-2" else "P2", incident_id=f"{s}/x")
        for s in servers
    ]
    evaluations = judged(grid, [label(s) for s in servers[1:]], openings)
    outcome = ExperimentOutcome(
        name="ours", grid=grid, backtest=detected(grid, np.zeros((ROWS, 4), np.float32)), openings=tuple(openings),
        evaluations=evaluations, points=Pointwise(auc_pr=None, vus_pr=None, positives=0.0, note="", by_server={}),
    )  # fmt: skip
    (page,) = page_entries(None, outcome)
    assert (page.verdict, page.worth, page.priority) == (Verdict.HIT, "hit, onset", "P1")
    assert (page.where, page.kind, page.delay_s) == ("web-0 and 3 more", "cpu_spike", 60.0)
    assert page.to_json()["incidents"] == [f"{s}/x" for s in servers]
    unjudged = ExperimentOutcome(
        name="ours",
        grid=grid,
        backtest=outcome.backtest,
        openings=tuple(openings),
        evaluations={},
        points=outcome.points,
    )

    class Unlabelled:
        protocol = STANDARD

    (page,) = page_entries(Unlabelled(), unjudged)
    assert (page.verdict, page.worth, page.where) == (None, "", "web-0 and 3 more")


def spiked(channel="mean10"):
    """A server whose only metric jumped at minute 300 and 301; the page came at 302, when it was normal again."""
    grid = grid_of("web-1")
    grid.values[298, 0, 0], grid.values[300, 0, 0], grid.values[301, 0, 0] = 99.0, 90.0, 70.0
    severity = np.full((ROWS, 1), 0.2, dtype=np.float32)
    severity[298], severity[300:303] = 9.0, [[6.0], [5.0], [3.5]]
    run = detected(grid, severity)
    number = [each.name for each in registry.every_channel()].index(channel)
    trace = replace(
        run.trace, channel=np.full((ROWS, 1), number, dtype=np.int8), measure=severity * 2.0, severity=severity
    )
    calibration = Calibration(thresholds={channel: Thresholds(p2=3.0, p1=6.0)})
    return grid, replace(run, trace=trace, calibration=calibration, policy=PolicySettings(needed=2, of_last=3))


def test_a_page_says_which_channel_decided_and_shows_the_counted_observation_that_was_farthest():
    cause = page_cause(*spiked(), "web-1", at(302), "P1")
    assert cause.channel == DecidingChannel(name="mean10", measure=7.0, priority="P1", threshold=6.0)
    assert (cause.metrics_at_ms, cause.metrics[0].measured, cause.metrics[0].deviation) == (at(300), 90.0, 20.0)
    said = "cpu 90 %, expected 50 (44 to 56) going by the last day"
    assert str(cause) == f"mean10 7.0, P1 above 6.0; {said}, at {iso(at(300))[11:16]}Z"
    assert cause.to_json()["channel"]["threshold"] == 6.0


def test_a_p2_is_held_against_the_threshold_of_p2_and_counts_what_reached_it():
    grid, run = spiked()
    run.trace.severity[300] = 1.6
    assert page_cause(grid, run, "web-1", at(302), "P2").channel.threshold == 3.0
    assert page_cause(grid, run, "web-1", at(302), "P2").metrics_at_ms == at(300)
    assert page_cause(grid, run, "web-1", at(302), "P1").metrics_at_ms == at(301)


def test_the_fleet_as_such_and_a_rule_of_alarms_have_no_channel():
    grid, run = spiked()
    assert str(page_cause(grid, run, "fleet", at(302), "P2")) == ""
    plain = replace(run, trace=replace(run.trace, channel=None, measure=None))
    assert page_cause(grid, plain, "web-1", at(302), "P1").channel is None


def test_a_page_that_became_p1_later_says_so():
    cause = page_cause(*spiked(), "web-1", at(302), "P2")
    page = BacktestPage(
        at_ms=at(302), servers=("web-1",), incidents=("web-1/x",), priority="P1", verdict=None, place=None, kind="",
        delay_s=None, cause=cause,
    )  # fmt: skip
    assert page.why == f"{cause}; P1 later"
    assert replace(page, priority="P2").why == str(cause)
    assert replace(page, servers=("web-1", "web-2")).why == str(cause)


def held_back(minutes, severity, changes=()):
    grid = grid_of("web-1")
    names = [each.name for each in registry.every_channel()]
    held = np.full((ROWS, 1), -1, dtype=np.int8)
    without = np.full((ROWS, 1), 0.3, dtype=np.float32)
    held[minutes], without[minutes] = names.index("relation"), np.array(severity)[:, None]
    run = detected(grid, np.full((ROWS, 1), 0.3, dtype=np.float32), changes)
    return held_back_entries(grid, replace(run, trace=replace(run.trace, held=held, held_severity=without)))


def test_what_the_servers_own_peaks_kept_from_paging_is_one_entry_with_its_reason():
    (entry,) = held_back([300, 301, 302, 350], [2.0, 4.0, 2.5, 2.0])
    assert (entry.server_id, entry.at_ms, entry.until_ms) == ("web-1", at(301), at(350))
    assert str(entry) == "relation meant severity 4.00, but the server had reached as much in earlier hours"
    assert entry.to_json()["channel"] == "relation"


def test_two_stretches_apart_are_two_entries_and_a_single_observation_is_none():
    assert [each.at_ms for each in held_back([100, 101, 300, 301, 500], [2.0] * 5)] == [at(101), at(301)]


def test_what_an_open_incident_tells_is_not_listed_as_held_back():
    opened = change(AlertEvent.OPENED, 90, 90)
    assert held_back([100, 101], [2.0, 2.0], [opened]) == []


def test_a_rule_of_alarms_holds_nothing_back():
    grid = grid_of("web-1")
    assert held_back_entries(grid, detected(grid, np.zeros((ROWS, 1), np.float32))) == []
