"""A stage with a further profile: its training stands beside the servers', and neither reaches into the other's."""

import re
from pathlib import Path

import pytest

from stacks.config.stage import load
from stacks.synthesize import synthesize
from tests.infra.templates import Stage, listed, told
from treeline.core.errors import SettingsError

SERVICES = {
    "metrics": [{"name": "requests_per_s", "minimum": 0}, {"name": "errors_percent", "unit": "%", "maximum": 100}],
    "step_s": 300,
    "learning": {"approval": "manual", "retraining_days": 7, "forest": {"num_trees": 50}},
}
OVERRIDES = {
    "step_s": 120,
    "detection": {"silent_after_s": 600, "policy": {"needed": 3}},
    "profiles": {"services": SERVICES},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    """Checked by cdk-nag: what it finds of a further profile is explained like the servers'."""
    folder: Path = tmp_path_factory.mktemp("assembly-profiles")
    built = synthesize(folder, "local", asset_platform="host", overrides=OVERRIDES, validate=True, root=checkout)
    return Stage("local", built)


def pipelines(stage: Stage) -> dict[str, str]:
    return {p["PipelineName"]: told(p) for p in stage.resources("AWS::SageMaker::Pipeline").values()}


def allowed(stage: Stage, role: str) -> str:
    """What a role's policy names."""
    return told([s["Resource"] for key, s in stage.statements() if re.match(f"learning/{role}", key)])


def test_each_profile_has_a_pipeline_and_a_group_of_its_name(two: Stage) -> None:
    groups = {g["ModelPackageGroupName"] for g in two.resources("AWS::SageMaker::ModelPackageGroup").values()}

    assert set(pipelines(two)) == groups == {"treeline-local-default", "treeline-local-services"}


def test_a_stage_with_one_profile_keeps_its_resources_when_it_gets_another(local_stage: Stage, two: Stage) -> None:
    """Construct paths are logical ids: a deployment would lose what moved."""
    for part in ("state", "learning"):
        before, after = (set(stage.template(part)["Resources"]) for stage in (local_stage, two))
        assert before <= after, part
        assert all("services" in id_ for id_ in after - before), part


def test_a_pipeline_learns_its_own_metrics_from_its_own_history(two: Stage) -> None:
    servers, services = pipelines(two)["treeline-local-default"], pipelines(two)["treeline-local-services"]

    assert "cpu_percent,memory_percent,network_mbps,disk_iops" in servers
    assert "requests_per_s,errors_percent" in services
    assert "/history/" in servers
    assert "/history-services/" in services
    assert "/history/" not in services
    for text, trees, step_s, policy in ((servers, "100", "120", "needed"), (services, "50", "300", "{}")):
        plain = text.replace("\\", "")
        assert f'"num_trees":"{trees}"' in plain
        assert f'"--step-s","{step_s}"' in plain
        assert policy in plain.split('"--policy"')[1].split('"--seed"')[0]


def test_what_detection_knows_is_the_servers_business(two: Stage) -> None:
    """Bad hours and the champion are of servers: a further profile's run gets no table, and may read none."""
    assert "--controls-table" in pipelines(two)["treeline-local-default"]
    assert "-table" not in pipelines(two)["treeline-local-services"]
    actions = {
        action for key, statement in two.statements() if "services" in key for action in listed(statement["Action"])
    }
    assert not {action for action in actions if action.startswith("dynamodb:")}


def test_a_further_profile_reaches_what_has_its_name(two: Stage) -> None:
    names = allowed(two, ".*services")

    for own in ("history-services/*", "runs/local-services-*", "packages/local-services-*", "forests/services/*"):
        assert own in names
    for other in ("/history/*", "/packages/*", "/forests/*", "/runs/*", "local-default"):
        assert other not in names
    assert "services" not in allowed(two, "(TrainingRoleRole|AdmitRole)")


def test_people_hear_how_every_profiles_training_ended(two: Stage) -> None:
    rules = two.resources("AWS::Events::Rule").values()
    (rule,) = [told(r) for r in rules if r.get("Description", "").startswith("A training run succeeded")]

    assert "treeline-local-default" in rule
    assert "treeline-local-services" in rule


def test_nothing_serves_or_promotes_a_further_profile(two: Stage) -> None:
    """It is trained and registered; the stacks hold no half of what would come after."""
    assert len(two.resources("AWS::StepFunctions::StateMachine")) == 1
    functions = two.resources("AWS::Lambda::Function").items()
    mentioning = [key for key, function in functions if "services" in told(function["Environment"])]
    assert [key.startswith("learning/StartTrainingservices") for key in mentioning] == [True]


def test_an_alarm_waits_for_three_steps_of_the_fleet(two: Stage, local_stage: Stage) -> None:
    def no_scores(stage: Stage) -> tuple[int, str]:
        alarms = stage.resources("AWS::CloudWatch::Alarm").items()
        (alarm,) = [properties for key, properties in alarms if "NoScores" in key]
        return alarm["Period"] * alarm["EvaluationPeriods"], alarm["AlarmDescription"].split("?")[0]

    assert no_scores(local_stage) == (180, "Has nothing been scored for three minutes")
    assert no_scores(two) == (360, "Has nothing been scored for 6 minutes")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"profiles": {"Logs": {}}}, "profiles.Logs: must be 1-32 of a-z, 0-9 and inner -, got 'Logs'"),
        ({"profiles": {"default": {}}}, "profiles.default: is the servers' profile: its keys stand at the top"),
        ({"profiles": {"logs": {"detection": {}}}}, "profiles.logs.detection: unknown key; known here: metrics"),
        ({"profiles": {"logs": {"metrics": []}}}, "profiles.logs.metrics: must be a list with distinct names"),
        ({"profiles": {"logs": {"step_s": 0}}}, "profiles.logs.step_s: must be in [1, 3600], got 0"),
        (
            {"profiles": {"logs": {"learning": {"history_days": 3}}}},
            "profiles.logs.learning.history_days: unknown key; known here: algorithm",
        ),
        (
            {"region": "mx-central-1", "profiles": {"logs": {"learning": {"algorithm": "built-in"}}}},
            "profiles.logs.learning.algorithm: no built-in Random Cut Forest is known for mx-central-1",
        ),
        ({"step_s": 120}, "detection.silent_after_s: must be at least three steps (360) where step_s is 120, got 300"),
        ({"learning": {"profile": "a_b"}}, "learning.profile: must be 1-32 of a-z"),
        ({"promotion": {"limits": {"errors": 1}}}, "promotion.limits.errors: unknown key; known here: error_share"),
        ({"drift": {"rules": {"clip": 1}}}, "drift.rules.clip: must be above threshold 1.5, got 1.0"),
    ],
)
def test_what_cannot_be_is_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load("local", overrides)

    assert message in str(refusal.value)
