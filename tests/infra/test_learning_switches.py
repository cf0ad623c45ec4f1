"""What the learning stack holds only where a setting asks for it."""

from pathlib import Path

import pytest

from stacks.synthesize import synthesize
from tests.infra.templates import Stage

MONITOR = ("AWS::SageMaker::DataQualityJobDefinition", "AWS::SageMaker::MonitoringSchedule")


@pytest.fixture(scope="module")
def switched_on(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    overrides = {
        "learning": {"retraining_days": 1, "model_monitor_baseline": "s3://models/packages/v/quality/features"}
    }
    folder: Path = tmp_path_factory.mktemp("assembly-switched-on")
    return Stage("local", synthesize(folder, "local", asset_platform="host", overrides=overrides, root=checkout))


def schedules(stage: Stage) -> dict[str, str]:
    rules = stage.resources("AWS::Events::Rule")
    return {key: rule["ScheduleExpression"] for key, rule in rules.items() if "ScheduleExpression" in rule}


def test_model_monitor_is_off_unless_asked_for(stage: Stage, switched_on: Stage) -> None:
    """Closed to new customers: a stack that held it by default could not be deployed."""
    assert not any(stage.resources(kind) for kind in MONITOR)
    (job,), (schedule,) = (switched_on.resources(kind).values() for kind in MONITOR)
    baseline = job["DataQualityBaselineConfig"]
    assert baseline["StatisticsResource"]["S3Uri"] == "s3://models/packages/v/quality/features/statistics.json"
    assert job["DataQualityJobInput"]["EndpointInput"]["EndpointName"] == "treeline-local"
    assert schedule["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"] == "cron(0 * ? * * *)"


def test_a_daily_retraining_is_a_setting(stage: Stage, switched_on: Stage) -> None:
    assert not [key for key in schedules(stage) if "Retraining" in key]
    (rule,) = [key for key in schedules(switched_on) if "Retraining" in key]
    assert schedules(switched_on)[rule] == "rate(1 day)"
    (target,) = switched_on.resources("AWS::Events::Rule")[rule]["Targets"]
    assert "StartTraining" in target["Arn"]["Fn::GetAtt"][0]
