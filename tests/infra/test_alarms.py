"""Alarms watch Treeline itself, and each has a page for the person it wakes."""

import re

from stacks.constructs.function_asset import ROOT
from tests.infra.templates import Stage, told

RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ("## What fired", "## What is normal", "## First three checks", "## Make it quiet")


def _pages(stage: Stage) -> dict[str, str]:
    """Alarm -> file its description names."""
    return {
        key: re.search(r"docs/runbooks/([\w-]+)\.md$", alarm["AlarmDescription"])[1]
        for key, alarm in stage.resources("AWS::CloudWatch::Alarm").items()
    }


def test_every_alarm_has_a_runbook_page_and_every_page_an_alarm_or_a_priority(stage: Stage):
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}

    assert pages == set(_pages(stage).values()) | {"p1", "p2"}


def test_every_page_answers_the_same_questions():
    for path in RUNBOOKS.glob("*.md"):
        if path.stem == "README":
            continue
        text = path.read_text(encoding="utf-8")
        assert [s for s in SECTIONS if s not in text] == [], path.name
        checks = text.split("## First three checks")[1].split("\n## ")[0]
        assert re.findall(r"^(\d)\. ", checks, re.MULTILINE) == ["1", "2", "3"], path.name


def test_every_alarm_asks_a_question_and_says_what_missing_data_means(stage: Stage):
    for key, alarm in stage.resources("AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmDescription"].split(" Runbook: ")[0].endswith("?"), key
        assert alarm["TreatMissingData"] in ("notBreaching", "breaching"), key
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"], key
        assert alarm["Period"] == 60, key


def test_alarms_speak_to_operations_and_never_to_those_who_watch_servers(stage: Stage):
    for key, alarm in stage.resources("AWS::CloudWatch::Alarm").items():
        for action in (*alarm["AlarmActions"], *alarm["OKActions"]):
            assert "Operations" in told(action), key
            assert "Alerts" not in told(action), key


def test_every_dead_letter_queue_has_an_alarm(stage: Stage):
    dead = [k.split("/")[1] for k, q in stage.resources("AWS::SQS::Queue").items() if "RedrivePolicy" not in q]
    watched = [
        told(alarm["Dimensions"])
        for alarm in stage.resources("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible" and alarm["Threshold"] == 0
    ]

    assert len(dead) == 4
    assert [queue for queue in dead if not any(queue in dimensions for dimensions in watched)] == []


def test_every_function_that_raises_is_noticed(stage: Stage):
    functions = [k.split("/")[1] for k in stage.resources("AWS::Lambda::Function")]
    watched = [
        told(alarm["Dimensions"])
        for alarm in stage.resources("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == "Errors"
    ]

    assert [f for f in functions if not any(f in dimensions for dimensions in watched)] == []


def test_silence_of_the_heartbeat_is_an_alarm(stage: Stage):
    alarm = stage.one("AWS::CloudWatch::Alarm", "detection/HeartbeatMissingAlarm")

    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["EvaluationPeriods"] == 3
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
