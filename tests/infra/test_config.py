"""A stage's file is checked before anything is built, and the message says where to look."""

from pathlib import Path
from typing import Any

import pytest

from stacks.config.stage import CONFIG_FOLDER, load, merged
from treeline.core.errors import SettingsError
from treeline.core.profile import DEFAULT_METRICS


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_stage_file_is_valid(path: Path):
    config = load(path.stem)

    assert config.stage == path.stem
    assert config.endpoint_name == f"treeline-{path.stem}"
    assert config.metrics == DEFAULT_METRICS


def test_production_keeps_its_data_and_local_does_not():
    assert load("prod").data.retain
    assert load("prod").data.termination_protection
    assert not load("local").data.retain


def test_local_takes_records_of_any_time():
    records = load("local").records

    assert records.max_age_s is None
    assert records.max_future_s is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"shards": 2}, "shards: unknown key; known here: paging, group_size, metrics"),
        ({"stream": {"shard": 2}}, "stream.shard: unknown key; known here: shards"),
        ({"stream": 2}, "stream: must be a mapping, got 2"),
        ({"stream": {"shards": "two"}}, "stream.shards: must be an integer, got 'two'"),
        ({"stream": {"shards": True}}, "stream.shards: must be an integer, got True"),
        ({"stream": {"shards": 1.5}}, "stream.shards: must be an integer, got 1.5"),
        ({"stream": {"shards": None}}, "stream.shards: must be an integer, got None"),
        ({"stream": {"shards": 0}}, "stream.shards: must be in [1, 500], got 0"),
        ({"stream": {"retention_h": 24, "max_record_age_s": 90_000}}, "stream.max_record_age_s: must not be"),
        ({"group_size": 51}, "group_size: must be in [1, 50], got 51"),
        ({"ticks": {"heartbeat": "yes"}}, "ticks.heartbeat: must be true or false, got 'yes'"),
        ({"detection": {"policy": [1]}}, "detection.policy: must be a mapping, got [1]"),
        ({"detection": {"watermark_wait_s": float("nan")}}, "detection.watermark_wait_s: must be a number"),
        ({"detection": {"endpoint_name": "a_b"}}, "detection.endpoint_name: must be 1-54 letters"),
        ({"functions": {"detect": {"timeout_s": 901}}}, "functions.detect.timeout_s: must be in [1, 900]"),
        ({"functions": {"reprocess": {"timeout_s": 60}}}, "functions.reprocess.timeout_s: must be below 60"),
        ({"logs": {"retention_days": 2}}, "logs.retention_days: must be one of 1, 3, 5"),
        ({"region": "mars"}, "region: must be an AWS region"),
        ({"stage": "x"}, "stage: the file's name says it"),
        ({"pagerduty": {"events_url": "http://example.com"}}, "pagerduty.events_url: must be https"),
        ({"notifications": {"alert_emails": "a@b.c"}}, "notifications.alert_emails: must be a list"),
        ({"paging": "loud"}, "paging: must be one of"),
        ({"notifications": {"alert_emails": ["nobody"]}}, "notifications.alert_emails: not an address: 'nobody'"),
        ({"metrics": []}, "metrics: must be a list with distinct names"),
        ({"metrics": [{"name": "a"}, {"name": "a"}]}, "metrics: must be a list with distinct names"),
        ({"metrics": [{"unit": "%"}]}, "metrics[0].name: must be set"),
        ({"metrics": [{"name": "a", "minimum": 1, "maximum": 1}]}, "metrics[0].minimum: must be below maximum"),
        ({"metrics": [{"name": "a", "direction": "sideways"}]}, "metrics[0].direction: must be one of up, down, both"),
        ({"metrics": [{"name": "a", "minimum_deviation": -1}]}, "metrics[0].minimum_deviation: must be at least 0"),
        ({"metrics": [{"name": "a", "maximum": 1, "saturated_above": 2}]}, "metrics[0].saturated_above: must be above"),
    ],
)  # fmt: skip
def test_a_wrong_setting_names_the_file_and_the_key(overrides: dict[str, Any], message: str):
    with pytest.raises(SettingsError) as refusal:
        load("local", overrides)

    assert str(refusal.value).startswith(f"config/local.yaml with overrides: {message}")


@pytest.mark.parametrize("name", ["", "Prod", "../prod", "9x", "x" * 21])
def test_a_stage_needs_a_plain_name(name: str):
    with pytest.raises(SettingsError, match="a stage is named by"):
        load(name)


def test_an_unknown_stage_lists_those_with_a_file():
    with pytest.raises(SettingsError, match=r"no config/nope.yaml; stages with a file: dev, local, prod"):
        load("nope")


@pytest.mark.parametrize(
    ("text", "message"), [("- 1\n", "must be a mapping of settings, got list"), ("a: [", "not YAML")]
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match=f"config/mine.yaml: {message}"):
        load("mine", folder=tmp_path)


def test_an_empty_file_means_all_defaults(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("# nothing differs\n", encoding="utf-8")

    assert load("mine", folder=tmp_path).stream.shards == 1


def test_a_function_keeps_its_own_defaults_beside_an_override():
    detect = load("local", {"functions": {"detect": {"timeout_s": 10}}}).functions.detect

    assert (detect.timeout_s, detect.memory_mb) == (10, load("local").functions.detect.memory_mb)


def test_overrides_merge_mappings_and_replace_everything_else():
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}

    assert merged(base, {"a": {"y": [3]}, "c": {"d": 1}}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": {"d": 1}}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}
