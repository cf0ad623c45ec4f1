"""What a stack tells a function is what the function hears."""

import pytest

from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import SettingsError
from treeline.core.profile import DEFAULT_METRICS, Direction, Metric
from treeline.settings.pipeline import (
    DetectSettings,
    DispatchSettings,
    Grouping,
    IngestSettings,
    MetricSet,
    RecordLimits,
)

INGEST = {
    "stage": "local",
    "observations_table": "o",
    "servers_table": "s",
    "quarantine_bucket": "q",
    "tick_queue_url": "u",
}


RESOURCES = ("table", "bucket", "name", "arn", "queue_url")
DETECT = {"stage": "dev"} | {f: "x" for f in DetectSettings.__dataclass_fields__ if f.endswith(RESOURCES)}


def test_a_limit_that_is_switched_off_stays_off_on_its_way_through_the_environment():
    """A replay of 2024 was refused as too old: None was left out and came back as the default."""
    told = IngestSettings(**INGEST, max_future_s=None, max_age_s=None)
    assert IngestSettings.from_env(told.to_env()) == told


def test_defaults_and_numbers_survive_the_environment():
    told = IngestSettings(**INGEST, max_age_s=77)
    assert IngestSettings.from_env(told.to_env()) == told
    assert IngestSettings.from_env({k.upper(): v for k, v in INGEST.items()}) == IngestSettings(**INGEST)


def test_a_metric_set_survives_the_environment_and_an_absent_bound_is_infinite():
    told = IngestSettings(**INGEST, metrics=(Metric(name="a"), *DEFAULT_METRICS))
    assert IngestSettings.from_env(told.to_env()) == told
    assert told.to_env()["METRICS"].startswith('[{"name":"a","unit":""},')


def test_the_limits_of_a_metric_survive_the_environment():
    metric = Metric(
        name="a",
        minimum=-5.0,
        maximum=5.0,
        direction=Direction.DOWN,
        minimum_deviation=1.5,
        minimum_relative_deviation=0.25,
        saturated_above=4.0,
    )
    told = IngestSettings(**INGEST, metrics=(metric,))
    heard = IngestSettings.from_env(told.to_env())
    assert heard == told
    assert heard.metrics[0].direction is Direction.DOWN


def test_a_wide_metric_set_with_every_limit_leaves_room_for_the_other_variables():
    """All variables of a Lambda function together may take 4 KB."""
    metrics = tuple(
        Metric(
            name=f"disk_{letter}_used_percent",
            unit="%",
            minimum=0.0,
            maximum=100.0,
            direction=Direction.UP,
            minimum_deviation=4.0,
            minimum_relative_deviation=0.125,
            saturated_above=97.0,
        )
        for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL"
    )
    told = IngestSettings(**INGEST, metrics=metrics)
    assert len(told.to_env()["METRICS"]) < 1024
    assert IngestSettings.from_env(told.to_env()) == told


@pytest.mark.parametrize("raw", ["zlib:AAAA", "zlib:%", "[{"])
def test_a_metric_set_that_cannot_be_read_is_named(raw):
    with pytest.raises(SettingsError, match="METRICS must be JSON, got"):
        IngestSettings.from_env(IngestSettings(**INGEST).to_env() | {"METRICS": raw})


def test_a_section_travels_as_what_differs_from_its_defaults():
    told = DetectSettings(policy=PolicySettings(quiet_s=60.0, needed=2), **DETECT)
    assert told.to_env()["POLICY"] == '{"quiet_s":60.0}'
    assert DetectSettings.from_env(told.to_env()) == told


def test_a_stack_tells_what_the_file_says_and_may_leave_no_key_out():
    records = RecordLimits(max_age_s=77, max_future_s=None)
    told = IngestSettings.of(records, MetricSet(), Grouping(group_size=9), **INGEST)
    assert (told.max_age_s, told.max_future_s, told.group_size) == (77, None, 9)
    with pytest.raises(SettingsError, match="group_size: no section has it"):
        IngestSettings.of(records, MetricSet(), **INGEST)


def test_every_missing_variable_is_named():
    with pytest.raises(SettingsError, match="SERVERS_TABLE, TICK_QUEUE_URL"):
        DispatchSettings.from_env({"STAGE": "dev"})


def test_a_value_of_the_wrong_kind_is_named_with_what_was_expected():
    env = {"STAGE": "dev", "SERVERS_TABLE": "s", "TICK_QUEUE_URL": "u", "GROUP_SIZE": "many"}
    with pytest.raises(SettingsError, match="GROUP_SIZE must be an integer, got 'many'"):
        DispatchSettings.from_env(env)


def test_none_is_no_value_for_a_number_that_must_be_there():
    env = {"STAGE": "dev", "SERVERS_TABLE": "s", "TICK_QUEUE_URL": "u", "GROUP_SIZE": "none"}
    with pytest.raises(SettingsError, match="GROUP_SIZE"):
        DispatchSettings.from_env(env)


@pytest.mark.parametrize("size", [0, 51])
def test_a_group_is_what_one_endpoint_call_holds(size):
    with pytest.raises(SettingsError, match="group_size: must be in"):
        IngestSettings(**INGEST, group_size=size)


def test_a_negative_late_window_is_refused():
    with pytest.raises(SettingsError, match="late_window_s: must be in"):
        DetectSettings(late_window_s=-1, **DETECT)
