"""A stage with further profiles: the same stacks once more, under their names; nothing of the servers' changes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stacks.config.stage import load
from stacks.synthesize import synthesize
from tests.infra.permissions import Templates, Use, plain
from tests.infra.templates import Stage, told
from treeline.core.errors import SettingsError
from treeline.settings import outputs

SERVICES = {
    "metrics": [{"name": "requests_per_s", "minimum": 0}, {"name": "errors_percent", "unit": "%", "maximum": 100}],
    "step_s": 300,
    "detection": {"silent_after_s": 900, "policy": {"needed": 3}},
    "learning": {"approval": "manual", "retraining_days": 7, "forest": {"num_trees": 50}},
    "promotion": {"share": 0.5},
}
COMMON = {"step_s": 120, "detection": {"silent_after_s": 600, "endpoint_retry_s": 7}}
TWO = COMMON | {"profiles": {"services": SERVICES, "twin": {}}}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    """Checked by cdk-nag: what it finds of a further profile is explained like the servers'."""
    folder: Path = tmp_path_factory.mktemp("assembly-profiles")
    built = synthesize(folder, "local", asset_platform="host", overrides=TWO, validate=True, root=checkout)
    return Stage("local", built, tuple(load("local", TWO).parts))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    """The same stage without further profiles."""
    folder: Path = tmp_path_factory.mktemp("assembly-one")
    return Stage("local", synthesize(folder, "local", asset_platform="host", overrides=COMMON, root=checkout))


def environment(stage: Stage, part: str, name: str) -> dict[str, Any]:
    """Of a function; references as text."""
    handler = f"lambdas.{name}.handler.handler"
    functions = stage.resources("AWS::Lambda::Function").items()
    (found,) = [f for key, f in functions if key.startswith(f"{part}/") and f["Handler"] == handler]
    return {key: told(value) for key, value in found["Environment"]["Variables"].items()}


def as_servers(text: str) -> str:
    """A name of the profile twin, as the servers' profile has it."""
    text = re.sub("^([a-z]+)-twin/", r"\1/", text)
    return re.sub("treeline-STAGE-twin", "treeline-STAGE" if "endpoint" in text else "treeline-STAGE-default", text)


def test_nothing_of_the_servers_profile_changes(one: Stage, two: Stage) -> None:
    """Not a name, not a key, not a permission: a deployment that adds a profile only adds stacks."""
    for part in outputs.PARTS:
        assert two.template(part) == one.template(part), part


def test_a_profile_has_the_resources_of_the_servers(two: Stage) -> None:
    """But for what pages people, which all profiles share."""

    def kinds(part: str) -> set[tuple[str, str]]:
        return {(plain(id_), r["Type"]) for id_, r in two.template(part)["Resources"].items() if "Allow" not in id_}

    missing = {part: {id_ for id_, _ in kinds(part) - kinds(f"{part}-twin")} for part in outputs.OF_PROFILE}

    assert not [id_ for part in outputs.OF_PROFILE for id_, _ in kinds(f"{part}-twin") - kinds(part)]
    assert missing.pop("state") == {"Pages"}
    assert all("Page" in id_ for id_ in missing.pop("observability"))
    assert set().union(*missing.values()) == set()


def test_a_profile_may_do_to_its_own_what_the_servers_may_do_to_theirs(two: Stage) -> None:
    """So what recorded calls say of the servers' permissions holds here; mutes are read where they are written."""
    allowed = Templates(two).allowed()
    servers = {use for use in allowed if use.caller.split("/")[0] in outputs.OF_PROFILE}
    twin = {use for use in allowed if use.caller.split("/")[0].endswith("-twin")}
    mutes = {use for use in twin if use.resource == "state/Controls"}

    assert {Use(*map(as_servers, use)) for use in twin - mutes} == servers
    assert {use.action for use in mutes} == {"dynamodb:Query", "dynamodb:GetItem"}
    assert {use.caller for use in mutes} == {
        "detection-twin/DetectFunction",
        "learning-twin/DriftWatchDriftFunction",
        "learning-twin/DriftWatchRollupFunction",
        "learning-twin/Pipeline",
    }
    assert not [use for use in servers if "twin" in use.resource or "services" in use.resource]


def test_what_differs_has_the_profiles_name(two: Stage) -> None:
    servers, own = (environment(two, part, "detect") for part in ("detection", "detection-services"))

    assert (servers["STAGE"], own["STAGE"]) == ('"local"', '"local/services"')
    assert (servers["ENDPOINT_NAME"], own["ENDPOINT_NAME"]) == ('"treeline-local"', '"treeline-local-services"')
    assert own["ALERTS_TOPIC_ARN"] == servers["ALERTS_TOPIC_ARN"]
    assert "MUTES_TABLE" not in servers
    assert "treeline-local-state" in own["MUTES_TABLE"]
    for table in ("OBSERVATIONS", "SERVERS", "STATE", "SCORES", "INCIDENTS", "CONTROLS", "ROLLUPS"):
        assert "treeline-local-state-services" in own[f"{table}_TABLE"], table
    groups = two.resources("AWS::SageMaker::ModelPackageGroup").values()
    assert {g["ModelPackageGroupName"] for g in groups} == {
        f"treeline-local-{n}" for n in ("default", "services", "twin")
    }
    rules = [told(rule) for key, rule in two.resources("AWS::Events::Rule").items() if "learning-services" in key]
    assert [r for r in rules if '"ModelApprovalStatus": ["Approved"]' in r and '["treeline-local-services"]' in r]


def test_alarms_of_a_profile_watch_its_own_metrics(two: Stage) -> None:
    stages = {
        (key.split("/")[0].partition("-")[2], dimension["Value"])
        for key, alarm in two.resources("AWS::CloudWatch::Alarm").items()
        for dimension in alarm.get("Dimensions", ())
        if dimension["Name"] == "stage"
    }

    assert stages == {("", "local"), ("services", "local/services"), ("twin", "local/twin")}


def test_a_profiles_dashboards_show_its_own_figures_and_everybodys_pages(two: Stage) -> None:
    body = told(two.one("AWS::CloudWatch::Dashboard", "observability-services/DetectionDashboard")["DashboardBody"])
    shown = set(re.findall(r'"Treeline","(\w+)","service","(\w+)","stage","([\w/]+)"', body.replace("\\", "")))

    assert {stage for _, service, stage in shown if service != "notify_pagerduty"} == {"local/services"}
    assert {stage for _, service, stage in shown if service == "notify_pagerduty"} == {"local"}


def test_a_profile_has_its_own_keys_and_takes_the_rest_from_the_top_of_the_file(two: Stage) -> None:
    config = load("local", TWO)
    services, twin = config.further_profiles

    assert (config.step_s, services.step_s, twin.step_s) == (120, 300, 120)
    assert (services.detection.silent_after_s, services.detection.endpoint_retry_s) == (900, 7)
    assert services.learning.forest.num_trees == 50
    assert (services.records.max_age_s, services.data.retain) == (None, False)
    assert twin.metric_names == config.metric_names
    assert environment(two, "detection-services", "detect")["POLICY"] == json.dumps('{"needed":3}')
    (own,) = load("local", {"detection": {"endpoint_name": "ours"}, "profiles": {"x": {}}}).further_profiles
    assert own.endpoint_name == "treeline-local-x", "two profiles cannot have one endpoint"


def pipelines(stage: Stage) -> dict[str, str]:
    return {p["PipelineName"]: told(p) for p in stage.resources("AWS::SageMaker::Pipeline").values()}


def test_a_pipeline_learns_its_own_metrics_and_judges_by_its_own_policy(two: Stage) -> None:
    servers, services = (pipelines(two)[f"treeline-local-{name}"] for name in ("default", "services"))

    assert "cpu_percent,memory_percent,network_mbps,disk_iops" in servers
    assert "requests_per_s,errors_percent" in services
    assert "--mutes-table" in services
    assert "--mutes-table" not in servers
    for text, trees, step_s, policy in ((servers, "100", "120", "{}"), (services, "50", "300", "needed")):
        plain_text = text.replace("\\", "")
        assert f'"Name":"NumTrees","Type":"String","DefaultValue":"{trees}"' in plain_text
        assert f'"--step-s","{step_s}"' in plain_text
        assert policy in plain_text.split('"--policy"')[1].split('"--seed"')[0]


def test_an_alarm_waits_for_three_steps_of_its_profile(two: Stage, local_stage: Stage) -> None:
    def no_scores(stage: Stage, part: str) -> tuple[int, str]:
        alarm = stage.one("AWS::CloudWatch::Alarm", f"{part}/FleetNoScoresAlarm")
        return alarm["Period"] * alarm["EvaluationPeriods"], alarm["AlarmDescription"].split("?")[0]

    assert no_scores(local_stage, "observability") == (180, "Has nothing been scored for three minutes")
    assert no_scores(two, "observability") == (360, "Has nothing been scored for 6 minutes")
    assert no_scores(two, "observability-services") == (900, "Has nothing been scored for 15 minutes")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"profiles": {"Logs": {}}}, "profiles.Logs: must be 1-32 of a-z, 0-9 and inner -, got 'Logs'"),
        ({"profiles": {"default": {}}}, "profiles.default: is the servers' profile: its keys stand at the top"),
        ({"profiles": {"logs": {"pagerduty": {}}}}, "profiles.logs.pagerduty: unknown key; known here: paging"),
        ({"profiles": {"logs": None}}, "profiles.logs: must be a mapping, got None"),
        ({"profiles": {"logs": {"metrics": []}}}, "profiles.logs.metrics: must be a list with distinct names"),
        ({"profiles": {"logs": {"step_s": 0}}}, "profiles.logs.step_s: must be in [1, 3600], got 0"),
        (
            {"profiles": {"logs": {"step_s": 600}}},
            "profiles.logs.detection.silent_after_s: must be at least three steps (1800) where step_s is 600, got 300",
        ),
        (
            {"profiles": {"logs": {"learning": {"history_days": 3}}}},
            "profiles.logs.learning.history_days: unknown key; known here: algorithm",
        ),
        (
            {"region": "mx-central-1", "profiles": {"logs": {"learning": {"algorithm": "built-in"}}}},
            "profiles.logs.learning.algorithm: no built-in Random Cut Forest is known for mx-central-1",
        ),
        (
            {"profiles": {"logs": {"detection": {"endpoint_name": "Treeline-local"}}}},
            "profiles.logs.detection.endpoint_name: is another profile's too: 'treeline-local'",
        ),
        (
            {"detection": {"endpoint_name": "a-b" * 19}},
            f"detection.endpoint_name: must be 1-54 letters, digits and -, got '{'a-b' * 19}'",
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
