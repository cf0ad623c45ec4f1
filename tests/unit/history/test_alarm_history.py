"""CloudWatch's alarm history as episodes of servers; the answers as CloudWatch gives them."""

from datetime import UTC, datetime, timedelta

import pytest

from training.history.cloudwatch.alarm_history import (
    LOOKBACK_MS,
    AlarmEpisode,
    AlarmHistoryError,
    Unmapped,
    read_alarm_history,
    server_names,
)
from treeline.core.times import to_ms

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
START, END = to_ms(NOON - timedelta(hours=12)), to_ms(NOON + timedelta(hours=12))
NAMES = server_names({"web-1": {"instance_id": "i-1"}, "web-2": {}})


def minute(at: int) -> int:
    return to_ms(NOON) + at * 60_000


def alarm(name, *, dimensions=("InstanceId", "i-1"), state="OK", since=0, **more):
    pairs = [{"Name": dimensions[0], "Value": dimensions[1]}] if dimensions else []
    changed = NOON + timedelta(minutes=since)
    return {
        "AlarmName": name, "Dimensions": pairs, "StateValue": state, "StateTransitionedTimestamp": changed, **more
    }  # fmt: skip


def change(name, at, before, after):
    summary = f"Alarm updated from {before} to {after}"
    return {"AlarmName": name, "Timestamp": NOON + timedelta(minutes=at), "HistorySummary": summary}


class FakeCloudWatch:
    """Gives each answer in pages of two, and keeps what it was asked."""

    def __init__(self, *, alarms=(), composite=(), changes=()):
        self.asked = {}
        pages_of_alarms = [{"MetricAlarms": list(alarms[i : i + 2])} for i in range(0, len(alarms), 2)]
        self._pages = {
            "describe_alarms": [*pages_of_alarms, {"CompositeAlarms": [{"AlarmName": name} for name in composite]}],
            "describe_alarm_history": [
                {"AlarmHistoryItems": list(changes[i : i + 2])} for i in range(0, len(changes), 2)
            ],
        }

    def get_paginator(self, operation):
        cloud = self

        class Paginator:
            def paginate(self, **request):
                cloud.asked[operation] = request
                return cloud._pages[operation]

        return Paginator()


def read(cloud, prefix=""):
    return read_alarm_history(cloud, NAMES, start_ms=START, end_ms=END, prefix=prefix, own_prefix="treeline-prod-")


def spans(history):
    return [(episode.start_ms, episode.end_ms) for episode in history.episodes]


def test_an_episode_is_from_alarm_to_the_state_after_it():
    changes = [
        change("cpu", 1, "OK", "ALARM"),
        change("cpu", 5, "ALARM", "OK"),
        change("cpu", 7, "OK", "INSUFFICIENT_DATA"),
        change("cpu", 8, "INSUFFICIENT_DATA", "ALARM"),
        change("cpu", 9, "ALARM", "INSUFFICIENT_DATA"),
    ]
    history = read(FakeCloudWatch(alarms=[alarm("cpu")], changes=changes))
    assert spans(history) == [(minute(1), minute(5)), (minute(8), minute(9))]
    assert history.episodes[0] == AlarmEpisode(alarm="cpu", server_id="web-1", start_ms=minute(1), end_ms=minute(5))


def test_only_state_changes_of_metric_alarms_are_asked_for_from_a_day_before_on():
    cloud = FakeCloudWatch(alarms=[alarm("cpu")])
    read(cloud, prefix="cp")
    asked = cloud.asked["describe_alarm_history"]
    assert (asked["HistoryItemType"], asked["AlarmTypes"]) == ("StateUpdate", ["MetricAlarm"])
    assert (to_ms(asked["StartDate"]), to_ms(asked["EndDate"])) == (START - LOOKBACK_MS, END)
    assert asked["ScanBy"] == "TimestampAscending"
    assert cloud.asked["describe_alarms"]["AlarmNamePrefix"] == "cp"


def test_an_alarm_that_rang_before_or_still_rings_is_cut_to_what_was_read():
    ringing = [alarm("a"), alarm("b", state="ALARM")]
    changes = [change("a", 3, "ALARM", "OK"), change("b", 4, "OK", "ALARM")]
    assert spans(read(FakeCloudWatch(alarms=ringing, changes=changes))) == [
        (START - LOOKBACK_MS, minute(3)),
        (minute(4), END),
    ]


@pytest.mark.parametrize(("since", "begin"), [(-6 * 1440, START - LOOKBACK_MS), (-60, minute(-60)), (3000, None)])
def test_an_alarm_without_any_change_rings_since_its_state_says(since, begin):
    history = read(FakeCloudWatch(alarms=[alarm("disk", state="ALARM", since=since)]))
    assert spans(history) == ([] if begin is None else [(begin, END)])
    assert spans(read(FakeCloudWatch(alarms=[alarm("disk", state="OK", since=since)]))) == []


def test_any_dimension_may_name_the_server_by_its_id_or_its_instance():
    on_host = alarm("load", dimensions=("host", "web-2"))
    metric = {"Dimensions": [{"Name": "InstanceId", "Value": "i-1"}]}
    on_math = alarm(
        "math", dimensions=None, Metrics=[{"Id": "e", "Expression": "m*2"}, {"MetricStat": {"Metric": metric}}]
    )
    changes = [change(name, 1, "OK", "ALARM") for name in ("load", "math")]
    history = read(FakeCloudWatch(alarms=[on_host, on_math], changes=changes))
    assert {episode.alarm: episode.server_id for episode in history.episodes} == {"load": "web-2", "math": "web-1"}


def test_alarms_of_no_one_server_are_named_with_the_reason_if_they_rang():
    two = [{"Name": "a", "Value": "web-1"}, {"Name": "b", "Value": "web-2"}]
    alarms = [
        alarm("group", dimensions=("AutoScalingGroupName", "web")),
        alarm("pair", dimensions=None, Metrics=[{"MetricStat": {"Metric": {"Dimensions": two}}}]),
        alarm("quiet", dimensions=None),
    ]
    changes = [change(name, 1, "OK", "ALARM") for name in ("group", "pair", "gone")]
    history = read(FakeCloudWatch(alarms=alarms, changes=changes))
    assert history.episodes == ()
    assert history.unmapped == {"group": Unmapped.NO_SERVER, "pair": Unmapped.MANY_SERVERS, "gone": Unmapped.DELETED}


def test_treelines_own_alarms_and_composite_ones_are_left_out():
    alarms = [alarm("cpu"), alarm("treeline-prod-detection-Errors")]
    changes = [change(name, 1, "OK", "ALARM") for name in ("cpu", "treeline-prod-detection-Errors")]
    history = read(
        FakeCloudWatch(alarms=alarms, composite=["all-of-web", "treeline-prod-observability-All"], changes=changes)
    )
    assert [episode.alarm for episode in history.episodes] == ["cpu"]
    assert (history.composite, history.own, history.unmapped) == (("all-of-web",), 2, {})


def test_a_prefix_chooses_alarms_of_the_history_too():
    alarms = [alarm("cpu-1")]
    changes = [change("cpu-1", 1, "OK", "ALARM"), change("disk-1", 1, "OK", "ALARM")]
    history = read(FakeCloudWatch(alarms=alarms, changes=changes), prefix="cpu")
    assert ([episode.alarm for episode in history.episodes], history.unmapped) == (["cpu-1"], {})


def test_a_change_that_says_no_state_is_named():
    broken = [{"AlarmName": "cpu", "Timestamp": NOON, "HistorySummary": "Alarm moved on"}]
    with pytest.raises(AlarmHistoryError, match=r"cpu.*Alarm moved on"):
        read(FakeCloudWatch(alarms=[alarm("cpu")], changes=broken))
