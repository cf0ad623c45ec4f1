"""Alarms watch Treeline itself, and each has a page for the person it wakes."""

import re

from stacks.constructs.function_asset import ROOT
from tests.infra.templates import Resource, Stage, told

RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ("## What fired", "## What is normal", "## First three checks", "## Make it quiet")


def _pages(stage: Stage) -> dict[str, str]:
    """Alarm -> file its description names."""
    return {
        key: re.search(r"docs/runbooks/([\w-]+)\.md$", alarm["AlarmDescription"])[1]
        for key, alarm in (_alarms(stage) | stage.resources("AWS::CloudWatch::CompositeAlarm")).items()
    }


def _alarms(stage: Stage) -> dict[str, Resource]:
    """Metric alarms."""
    return stage.resources("AWS::CloudWatch::Alarm")


def unwatched_dead_letters(queues: dict[str, Resource], alarms: dict[str, Resource]) -> list[str]:
    """Dead-letter queues without an alarm that fires at the first message."""
    dead = [key.split("/")[1] for key, queue in queues.items() if "RedrivePolicy" not in queue]
    watched = [
        told(alarm["Dimensions"])
        for alarm in alarms.values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible" and alarm["Threshold"] == 0
    ]
    return [queue for queue in dead if not any(queue in dimensions for dimensions in watched)]


def test_every_alarm_has_a_runbook_page_and_every_page_an_alarm_or_a_priority(stage: Stage):
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}

    assert pages == set(_pages(stage).values()) | {"p1", "p2"}


def test_the_index_lists_every_page():
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")

    assert [p.name for p in RUNBOOKS.glob("*.md") if p.stem != "README" and f"({p.name})" not in index] == []


def test_every_page_answers_the_same_questions():
    for path in RUNBOOKS.glob("*.md"):
        if path.stem == "README":
            continue
        text = path.read_text(encoding="utf-8")
        assert [s for s in SECTIONS if s not in text] == [], path.name
        checks = text.split("## First three checks")[1].split("\n## ")[0]
        assert re.findall(r"^(\d)\. ", checks, re.MULTILINE) == ["1", "2", "3"], path.name


def test_the_pages_of_the_priorities_say_how_to_mute_to_mark_false_and_to_roll_back():
    for name in ("p1", "p2"):
        text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert "## Mark it false, or true" in text
        assert "treeline incident label <incident_id> false" in text
        assert "## Roll back" in text
        assert "treeline model rollback" in text
    assert "treeline mute add" in (RUNBOOKS / "p1.md").read_text(encoding="utf-8")


def test_every_alarm_asks_a_question_and_says_what_missing_data_means(stage: Stage):
    for key, alarm in stage.resources("AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmDescription"].split(" Runbook: ")[0].endswith("?"), key
        assert alarm["TreatMissingData"] in ("notBreaching", "breaching"), key
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"], key
        assert alarm["Period"] in (60, 900, 86_400), key


def test_alarms_speak_to_operations_and_never_to_those_who_watch_servers(stage: Stage):
    for key, alarm in stage.resources("AWS::CloudWatch::Alarm").items():
        for action in (*alarm["AlarmActions"], *alarm["OKActions"]):
            assert "Operations" in told(action), key
            assert "Alerts" not in told(action), key


def test_every_dead_letter_queue_has_an_alarm(stage: Stage):
    assert unwatched_dead_letters(stage.resources("AWS::SQS::Queue"), _alarms(stage)) == []


def test_a_dropped_alarm_is_noticed(stage: Stage):
    """The test of the test: without any one alarm on a dead-letter queue, that queue is named."""
    alarms = _alarms(stage)
    depth = [k for k, a in alarms.items() if a["MetricName"] == "ApproximateNumberOfMessagesVisible"]

    assert len(depth) >= 4
    for dropped in depth:
        rest = {key: alarm for key, alarm in alarms.items() if key != dropped}
        assert len(unwatched_dead_letters(stage.resources("AWS::SQS::Queue"), rest)) == 1, dropped


def test_every_function_that_raises_is_noticed(stage: Stage):
    # Who looks at a dashboard sees that a widget fails; what runs in a pipeline or a workflow fails with that.
    elsewhere = ("/Widget", "/Admit", "/PromotionStep")
    functions = [
        k.split("/")[1] for k in stage.resources("AWS::Lambda::Function") if not any(e in k for e in elsewhere)
    ]
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


def test_the_questions_of_the_requirement_are_asked(stage: Stage):
    questions = [a["AlarmDescription"].split("?")[0] for a in _alarms(stage).values()]

    for asked in (
        "more than 5 anomalies start within 15 minutes",
        "nothing been scored for three minutes",
        "model endpoint fail",
        "pages fail",
        "sends nothing any more",
        "PagerDuty did not take",
        "run out of time",
    ):
        assert any(asked in question for question in questions), asked


def test_more_than_five_anomalies_in_fifteen_minutes(stage: Stage):
    alarm = stage.one("AWS::CloudWatch::Alarm", "observability/FleetManyAnomaliesAlarm")

    assert (alarm["Period"], alarm["Threshold"], alarm["ComparisonOperator"]) == (900, 5, "GreaterThanThreshold")
    assert alarm["MetricName"] == "IncidentsOpened"


def test_no_scores_for_three_minutes_fires_though_nothing_is_written(stage: Stage):
    alarm = stage.one("AWS::CloudWatch::Alarm", "observability/FleetNoScoresAlarm")

    assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"], alarm["TreatMissingData"]) == (3, 3, "breaching")


def test_one_alarm_says_that_the_detector_is_unwell_and_never_speaks_of_servers(stage: Stage):
    (unwell,) = stage.resources("AWS::CloudWatch::CompositeAlarm").values()
    rule = told(unwell["AlarmRule"])

    assert rule.count("ALARM(") >= 15
    for of_servers in ("ManyAnomalies", "ServersSilent", "QuarantineSurge", "ValuesSetAside"):
        assert of_servers not in rule
    for of_detector in ("NoScores", "ScorerUnavailable", "NoModel", "ErrorLines"):
        assert of_detector in rule
    assert "Operations" in told(unwell["AlarmActions"])
    assert "Alerts" not in told(unwell["AlarmActions"])


def test_every_alarm_is_on_a_dashboard(stage: Stage):
    bodies = told([d["DashboardBody"] for d in stage.resources("AWS::CloudWatch::Dashboard").values()])
    here = [k.split("/")[1] for k in _alarms(stage) if k.startswith("observability/")]
    shown = [k for k in here if f'"{k}"' in bodies]

    assert shown == here
    widgets = bodies.count("PublishOutputFnGetAtt")
    assert widgets >= len(_alarms(stage)) - len(here), "alarms of other stacks come by reference"


def test_log_lines_become_metrics_for_every_function(stage: Stage):
    filters = stage.resources("AWS::Logs::MetricFilter")
    functions = stage.resources("AWS::Lambda::Function")

    assert len(filters) == 2 * len(functions)
    names = {f["MetricTransformations"][0]["MetricName"] for f in filters.values()}
    assert names == {"ErrorLines", "Timeouts"}
