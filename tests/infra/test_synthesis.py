"""Synthesis is the same everywhere: no node, no Docker, no account and no clock in it."""

import filecmp
import json
from pathlib import Path

import pytest

from stacks.constructs.function_asset import ROOT
from stacks.synthesize import SynthesisError, synthesize
from tests.infra.templates import Stage
from treeline.core.errors import SettingsError


def _files(folder: Path) -> dict[str, Path]:
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    files.pop("validation-report.json", None)
    return files


def test_a_second_synthesis_without_node_or_docker_on_the_path_is_byte_equal(
    stage: Stage, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also in another folder, at another time, with another hash seed."""
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "docker").write_text(f"#!/bin/sh\ntouch {tmp_path}/docker-was-called\nexit 1\n", encoding="utf-8")
    (empty / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("JSII_NODE", raising=False)
    monkeypatch.setenv("PYTHONHASHSEED", "7")

    again = synthesize(tmp_path / "again", "prod", root=checkout)

    first, second = _files(stage.folder), _files(again)
    assert set(first) == set(second)
    different = [n for n, p in first.items() if not filecmp.cmp(p, second[n], shallow=False)]
    assert different == []
    assert not (tmp_path / "docker-was-called").exists()


def test_templates_know_no_account(stage: Stage):
    manifest = json.loads((stage.folder / "manifest.json").read_text(encoding="utf-8"))
    environments = {
        artifact["environment"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    }

    assert environments == {"aws://unknown-account/us-east-1"}


def test_the_recommended_flags_stand_in_cdk_json():
    """They decide what the templates look like, so they are set once and reviewed when CDK moves."""
    settings = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))

    assert settings["app"].endswith("app.py")
    assert settings["context"]["@aws-cdk/core:defaultCrossStackReferences"] == "weak"
    assert settings["context"]["@aws-cdk/aws-iam:minimizePolicies"] is True
    # What the CDK's command would add to templates; without it `python app.py` makes the same ones.
    assert [settings[k] for k in ("versionReporting", "pathMetadata", "assetMetadata")] == [False] * 3


def test_overrides_reach_the_templates(tmp_path: Path):
    overrides = {
        "ticks": {"heartbeat": False},
        "pagerduty": {"enabled": True, "events_url": "http://127.0.0.1:9/enqueue"},
        "detection": {"policy": {"quiet_s": 60}},
        "stream": {"shards": 3},
        "notifications": {"alert_emails": ["oncall@example.com"], "operations_emails": ["ops@example.com"]},
        "paging": "shadow",
    }

    local = Stage("local", synthesize(tmp_path, "local", asset_platform="host", overrides=overrides))

    assert local.one("AWS::Events::Rule", "detection/Heartbeat")["State"] == "DISABLED"
    assert local.one("AWS::Events::Rule", "detection/Redrive")["State"] == "ENABLED"
    assert local.one("AWS::Kinesis::Stream", "ingestion/Observations")["ShardCount"] == 3
    environment = local.function("notify_pagerduty")["Environment"]["Variables"]
    assert environment["EVENTS_URL"] == "http://127.0.0.1:9/enqueue"
    assert json.loads(local.function("detect")["Environment"]["Variables"]["POLICY"]) == {"quiet_s": 60}
    assert local.function("detect")["Environment"]["Variables"]["PAGING"] == "shadow"
    emails = [s for s in local.resources("AWS::SNS::Subscription").values() if s["Protocol"] == "email"]
    assert {s["Endpoint"]: s.get("FilterPolicy") for s in emails} == {
        "oncall@example.com": {"event": [{"anything-but": ["suppressed"]}]},
        "ops@example.com": None,
    }
    assert not [k for k in local.resources("AWS::CloudWatch::Alarm") if "HeartbeatMissing" in k]


def test_a_stage_without_pagerduty_has_nothing_of_it(tmp_path: Path):
    stage = Stage("dev", synthesize(tmp_path, "dev", asset_platform="host"))

    assert not any("NotifyPagerDuty" in name for name in stage.resources("AWS::Lambda::Function"))
    assert stage.resources("AWS::SecretsManager::Secret") == {}
    assert "PagesQueueUrl" not in stage.template("alerting")["Outputs"]


def test_a_wrong_setting_is_told_before_anything_runs(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"stream.shards: must be in \[1, 500\], got 0"):
        synthesize(tmp_path, "local", overrides={"stream": {"shards": 0}})

    assert list(tmp_path.iterdir()) == []


def test_an_unknown_platform_is_told_before_anything_runs(tmp_path: Path):
    with pytest.raises(SettingsError, match="asset_platform must be lambda or host, got 'mars'"):
        synthesize(tmp_path, "local", asset_platform="mars")  # type: ignore[arg-type]


def test_what_the_app_says_on_failure_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JSII_NODE", "/no/such/node")

    with pytest.raises(SynthesisError, match=r"synthesis of local failed:\n(.*\n)*.*/no/such/node"):
        synthesize(tmp_path, "local", asset_platform="host")
