"""A stage whose forest scores in detect: no endpoint, nor leave for one, and what shows one is gone too."""

import json
from pathlib import Path
from typing import Any

import pytest

from stacks.config.stage import load
from stacks.constructs.network import INTERFACES
from stacks.retained import told as retained
from stacks.synthesize import synthesize
from tests.infra.templates import Stage, listed, told
from tests.infra.test_protection import NETWORK
from treeline.core.errors import SettingsError
from treeline.settings import outputs
from treeline.settings.pipeline import DetectSettings, ReprocessSettings
from treeline.settings.promotion import PromotionSettings

EMBEDDED: dict[str, Any] = {"scorer": "embedded", "network": NETWORK}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    """Production without an endpoint, in a VPC, checked by cdk-nag."""
    folder: Path = tmp_path_factory.mktemp("embedded")
    made = synthesize(folder, "prod", asset_platform="host", overrides=EMBEDDED, validate=True, root=checkout)
    return Stage("prod", made)


def test_no_role_may_touch_an_endpoint_but_the_evaluation_s_own(embedded: Stage, stage: Stage):
    def about_endpoints(one: Stage) -> set[str]:
        return {
            policy.split("Role")[0]
            for policy, statement in one.statements()
            for action in listed(statement["Action"])
            if "Endpoint" in action or action.startswith("application-autoscaling:")
            if "treeline-evaluate-" not in told(statement["Resource"])
        }

    assert about_endpoints(stage) == {"detection/Detect", "detection/Reprocess", "learning/PromotionStep"}
    assert about_endpoints(embedded) == set()
    assert [key for key in embedded.resources("AWS::IAM::Role") if "HostingRole" in key] == []


def test_detect_may_read_packages_and_forests_and_nothing_else_of_the_bucket(embedded: Stage, stage: Stage):
    def readable(one: Stage) -> set[str]:
        return {
            resource["Fn::Join"][1][-1]
            for policy, statement in one.statements()
            if policy.startswith("detection/Detect") and "s3:GetObject" in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }

    assert readable(embedded) == {"/packages/*", "/forests/*"}
    assert readable(stage) == {"/packages/*"}, "with an endpoint detect never sees a forest"


def test_the_functions_are_told_and_take_it(embedded: Stage):
    for name, settings in (
        ("detect", DetectSettings),
        ("reprocess", ReprocessSettings),
        ("promotion", PromotionSettings),
    ):
        variables = embedded.function(name)["Environment"]["Variables"]
        read = settings.from_env({key: value if isinstance(value, str) else "x" for key, value in variables.items()})
        assert (read.is_embedded, read.endpoint_name) == (True, ""), name
    assert outputs.ENDPOINT_NAME not in embedded.template(outputs.DETECTION)["Outputs"]


def test_nothing_shows_an_endpoint_or_pays_for_the_way_to_one(embedded: Stage, stage: Stage):
    def shown(one: Stage) -> str:
        return told(one.resources("AWS::CloudWatch::Dashboard"))

    assert "EndpointName" in shown(stage)
    assert "EndpointName" not in shown(embedded)
    interfaces = [e for e in embedded.resources("AWS::EC2::VPCEndpoint").values() if e["VpcEndpointType"] != "Gateway"]
    assert len(interfaces) == len(INTERFACES)
    question = embedded.one("AWS::CloudWatch::Alarm", "observability/FleetScorerUnavailableAlarm")["AlarmDescription"]
    assert "forest" in told(question)


def test_cdk_nag_finds_nothing_there_that_is_not_explained(embedded: Stage):
    report = json.loads((embedded.folder / "validation-report.json").read_text(encoding="utf-8"))

    assert [plugin["violations"] for plugin in report["pluginReports"]] == []


def test_what_stays_when_it_is_destroyed_names_no_endpoint(embedded: Stage, monkeypatch: pytest.MonkeyPatch):
    assert "delete-endpoint" in retained("prod", {})
    monkeypatch.setattr("stacks.config.stage.load", lambda stage: load(stage, EMBEDDED))
    assert "delete-endpoint" not in retained("prod", {})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"scorer": "sagemaker"}, "scorer: must be one of endpoint, embedded, got 'sagemaker'"),
        (
            {"scorer": "embedded", "learning": {"algorithm": "built-in"}},
            "scorer: embedded reads the forest of our container; what SageMaker's built-in algorithm leaves, only its",
        ),
        (
            {"scorer": "embedded", "learning": {"model_monitor_baseline": "s3://b/p"}},
            "learning.model_monitor_baseline: needs what an endpoint captures",
        ),
        (
            {"learning": {"algorithm": "built-in"}, "profiles": {"logs": {"scorer": "embedded"}}},
            "profiles.logs.scorer: embedded reads the forest of our container",
        ),
    ],
)
def test_what_needs_an_endpoint_is_refused_by_its_key(overrides: dict[str, Any], message: str):
    with pytest.raises(SettingsError) as refusal:
        load("local", overrides)

    assert str(refusal.value).startswith(f"config/local.yaml with overrides: {message}")


def test_each_profile_says_for_itself_where_its_forest_scores():
    stage = load("local", {"scorer": "embedded", "profiles": {"logs": {"scorer": "endpoint"}, "jobs": {}}})

    assert {p.further: p.endpoint_name for p in stage.all_profiles} == {
        "": "",
        "jobs": "",
        "logs": "treeline-local-logs",
    }
