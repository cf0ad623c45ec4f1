"""Incidents beside alarms: what is of the same trouble, and who was first."""

import io

import pytest
from rich.console import Console

from cli.shadow_screen import show_alarms
from tests.unit.paging_fakes import alert
from training.evaluate.against_alarms import against_alarms
from training.evaluate.pages import Tier
from training.history.cloudwatch.alarm_history import AlarmEpisode, AlarmHistory, Unmapped
from treeline.core.alert import FLEET, AlertEvent, Clocks, Priority
from treeline.core.times import iso

MINUTE, DAY = 60_000, 86_400_000
START = 1_700_006_400_000


def clocks(at: float, took_s: float = 0.0, late_s: float = 0.0) -> Clocks:
    observed = START + round(at * MINUTE)
    received = observed + round(1000 * late_s)
    return Clocks(
        first_anomalous_at=iso(observed), observed_at=iso(observed), received_at=iso(received),
        scored_at=iso(received + round(1000 * took_s)), published_at="",
    )  # fmt: skip


def incident(server, at, end=None, *, p1_at=None, took_s=0.0, late_s=0.0):
    opened = iso(START + round(at * MINUTE))
    steps = [(AlertEvent.OPENED, Priority.P2, at)]
    steps += [] if p1_at is None else [(AlertEvent.ESCALATED, Priority.P1, p1_at)]
    steps += [] if end is None else [(AlertEvent.RESOLVED, Priority.P1 if p1_at else Priority.P2, end)]
    return [
        alert(event, i, server_id=server, opened=opened, priority=priority, clocks=clocks(when, took_s, late_s))
        for i, (event, priority, when) in enumerate(steps, 1)
    ]


def rings(name, server, at, end):
    start_ms, end_ms = START + round(at * MINUTE), START + round(end * MINUTE)
    return AlarmEpisode(alarm=name, server_id=server, start_ms=start_ms, end_ms=end_ms)


def compared(incidents, episodes, tier=Tier.ALL):
    ordered = tuple(sorted(episodes, key=lambda episode: (episode.start_ms, episode.alarm)))
    history = AlarmHistory(episodes=ordered, unmapped={}, composite=(), own=0)
    named = {alerts[0].incident_id: alerts for alerts in incidents}
    found = against_alarms(named, history, start_ms=START, end_ms=START + DAY)
    return found if tier is None else found.tiers[tier]


def counts(found):
    return len(found.both), len(found.only_ours), len(found.alarms_in_both), len(found.only_theirs)


@pytest.mark.parametrize(
    ("start", "end", "is_same"),
    [
        (95, 105, True),  # overlaps the beginning
        (150, 170, True),  # rings inside
        (159, 200, True),  # begins before the incident's end
        (160.5, 200, False),  # begins after it
        (90, 91, True),  # over before, but began ten minutes before
        (89.9, 91, False),
        (10, 99, False),
        (10, 100, True),
    ],
)
def test_one_trouble_overlaps_or_begins_within_ten_minutes(start, end, is_same):
    found = compared([incident("a", 100, 160)], [rings("cpu", "a", start, end)])
    assert counts(found) == ((1, 0, 1, 0) if is_same else (0, 1, 0, 1))


@pytest.mark.parametrize(("start", "is_same"), [(110, True), (110.1, False)])
def test_an_alarm_may_begin_ten_minutes_after_a_short_incident(start, is_same):
    found = compared([incident("a", 100, 104)], [rings("cpu", "a", start, 200)])
    assert counts(found) == ((1, 0, 1, 0) if is_same else (0, 1, 0, 1))


def test_an_alarm_of_another_server_is_theirs_alone():
    found = compared([incident("a", 100, 160)], [rings("cpu", "b", 100, 160)])
    assert counts(found) == (0, 1, 0, 1)
    assert found.by_server() == [("a", 0, 1, 0), ("b", 0, 0, 1)]


def test_several_alarms_of_one_trouble_are_one_incident_in_common_and_all_theirs():
    alarms = [rings("load", "a", 104, 130), rings("cpu", "a", 97, 130), rings("disk", "a", 400, 410)]
    found = compared([incident("a", 100, 160)], alarms)
    assert counts(found) == (1, 0, 2, 1)
    assert [alarm.alarm for alarm in found.both[0].alarms] == ["cpu", "load"]
    assert (found.ours_first, found.theirs_first, found.lead_p50_s) == (0, 1, -180.0), "the earliest alarm counts"


def test_one_long_alarm_may_have_many_incidents():
    found = compared([incident("a", 100, 160), incident("a", 300, 360)], [rings("cpu", "a", 90, 500)])
    assert counts(found) == (2, 0, 1, 0)


def test_what_deciding_took_counts_and_what_a_replay_took_does_not():
    slow = incident("a", 100, 160, took_s=90.0, late_s=86_400.0)
    found = compared([slow], [rings("cpu", "a", 101, 160)])
    assert (found.both[0].lead_s, found.theirs_first) == (-30.0, 1)
    assert compared([incident("a", 100, 160, took_s=30.0)], [rings("cpu", "a", 101, 160)]).ours_first == 1


def test_an_open_incident_lasts_until_the_end():
    assert counts(compared([incident("a", 100)], [rings("cpu", "a", 1000, 1010)])) == (1, 0, 1, 0)


def test_p1_counts_from_when_the_incident_rose():
    incidents = [incident("a", 100, 400, p1_at=200), incident("b", 100, 400)]
    alarms = [rings("cpu", "a", 195, 300), rings("cpu-b", "b", 100, 300)]
    p1, every = (compared(incidents, alarms, tier) for tier in Tier)
    assert counts(p1) == (1, 0, 1, 1)
    assert counts(every) == (2, 0, 2, 0)
    assert (p1.both[0].lead_s, every.both[0].lead_s) == (-300.0, 5700.0)


def test_what_began_before_the_days_is_matched_and_not_counted():
    early = incident("a", -30, 60)
    found = compared([early], [rings("cpu", "a", 10, 20), rings("old", "a", -300, -200)])
    assert counts(found) == (0, 0, 1, 0)


def test_an_incident_of_the_fleet_names_no_server():
    found = compared([incident(FLEET, 100, 160)], [rings("cpu", "a", 100, 160)], tier=None)
    assert found.fleet_incidents == 1
    assert counts(found.tiers[Tier.ALL]) == (0, 0, 0, 1)


def test_as_json_each_alarm_and_incident_stands_by_name():
    body = compared(
        [incident("a", 100, 160), incident("b", 100, 160)],
        [rings("cpu", "a", 101, 160), rings("disk", "c", 5, 6)],
        tier=None,
    ).to_json()["tiers"]["P1+P2"]
    assert (body["incidents"], body["alarms"], body["lead_p50_s"]) == (2, 2, 60.0)
    assert [each["incident_id"] for each in body["both"]] == [incident("a", 100)[0].incident_id]
    assert [each["alarm"] for each in body["only_theirs"]] == ["disk"]
    assert len(body["only_ours"]) == 1


def test_the_terminal_says_what_both_saw_what_one_saw_and_what_was_left_out():
    """Names are shown as they are, also where they look like markup."""
    episodes = (rings("cpu[all]", "a", 104, 160), rings("disk", "c", 200, 210))
    history = AlarmHistory(
        episodes=episodes, unmapped={"asg": Unmapped.NO_SERVER, "gone": Unmapped.DELETED}, composite=("any",), own=3
    )
    incidents = [incident("a", 100, 160), incident("b", 300), incident(FLEET, 400)]
    named = {alerts[0].incident_id: alerts for alerts in incidents}
    output = io.StringIO()
    show_alarms(against_alarms(named, history, start_ms=START, end_ms=START + DAY), Console(file=output, width=120))
    shown = output.getvalue()
    assert f"both: {incidents[0][0].incident_id}, alarm cpu[all] 4.0 min after us" in shown
    assert f"only ours: {incidents[1][0].incident_id} (P2)" in shown
    assert f"only theirs: disk (c), {iso(START + 200 * MINUTE)}" in shown
    assert "of no server: 2" in shown
    assert "gone: it was deleted" in shown
    assert "composite alarms left out, as they combine others: 1" in shown
    assert "the whole fleet left out, as they name no server: 1" in shown
    (row,) = [line.split() for line in shown.splitlines() if line.strip().startswith("P1+P2")]
    assert row == ["P1+P2", "2", "1", "1", "2", "1", "1", "0", "+4.0", "min"]
