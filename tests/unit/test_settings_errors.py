"""A typo in a setting gives one line that names the field, its value and what was expected."""

import pytest

from stacks.config import stage as stage_config
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import SettingsError
from treeline.settings.pipeline import DetectSettings, DispatchSettings, NotifyPagerDutySettings

NOT_ONE = {
    "POLICY": "{}",
    "METRICS": '[{"name": "a"}]',
    "PAGING": "people",
    "SCORER": "endpoint",
    "TIMEZONE": "Europe/Berlin",
    "SCORE_TTL_S": "3600",
    "EVENTS_URL": "https://example.com",
}


def env(cls, **changes: str) -> dict[str, str]:
    """Every variable set, some of them to something else."""
    return {**{name.upper(): "1" for name in cls.__dataclass_fields__}, **NOT_ONE, **changes}


def policy(text: str) -> PolicySettings:
    return DetectSettings.from_env(env(DetectSettings, POLICY=text)).policy


def test_a_policy_is_the_defaults_with_what_is_given():
    assert policy("{}") == PolicySettings()
    assert policy('{"needed": 3, "of_last": 5, "quiet_s": 60}') == PolicySettings(needed=3, of_last=5, quiet_s=60.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"need": 2}', "DetectSettings: POLICY.need: unknown key; known here: needed, of_last,"),
        ('{"needed": "2"}', "DetectSettings: POLICY.needed: must be an integer, got '2'"),
        ('{"needed": 2.5}', "DetectSettings: POLICY.needed: must be an integer, got 2.5"),
        ('{"needed": true}', "DetectSettings: POLICY.needed: must be an integer, got True"),
        ('{"quiet_s": null}', "DetectSettings: POLICY.quiet_s: must be a number, got None"),
        ('{"quiet_s": NaN}', "DetectSettings: POLICY.quiet_s: must be a number, got nan"),
        ('{"quiet_s": -1}', "DetectSettings: POLICY.quiet_s: must be at least 0, got -1.0"),
        ('{"needed": 5}', "DetectSettings: POLICY.needed: must be in [1, of_last], got 5 of 3"),
        ("[2, 3]", "DetectSettings: POLICY: must be a mapping, got [2, 3]"),
        ("needed=2", "POLICY must be JSON, got 'needed=2'"),
    ],
)
def test_a_policy_typo_is_named(text, expected):
    with pytest.raises(SettingsError) as caught:
        policy(text)
    assert str(caught.value).startswith(expected)


def test_a_policy_typo_in_a_stage_file_is_found_before_anything_is_deployed():
    with pytest.raises(SettingsError, match=r"detection\.policy\.need: unknown key"):
        stage_config.load("local", {"detection": {"policy": {"need": 2}}})


@pytest.mark.parametrize(
    ("cls", "changes", "expected"),
    [
        (DetectSettings, {"GROUP_SIZE": "fifty"}, "GROUP_SIZE must be an integer, got 'fifty'"),
        (DetectSettings, {"GROUP_SIZE": "51"}, r"GROUP_SIZE must be in \[1, 50\], got 51"),
        (DetectSettings, {"WATERMARK_WAIT_S": "nan"}, "WATERMARK_WAIT_S must be a finite number, got 'nan'"),
        (DetectSettings, {"PAGING": "poeple"}, "PAGING must be one of people, shadow, got 'poeple'"),
        (DetectSettings, {"SCORER": "sagemaker"}, "SCORER must be one of endpoint, embedded, got 'sagemaker'"),
        (DetectSettings, {"ENDPOINT_NAME": ""}, "ENDPOINT_NAME must be set where scorer is endpoint"),
        (DetectSettings, {"STATE_TABLE": ""}, "DetectSettings: STATE_TABLE must be set"),
        (DispatchSettings, {"SECOND_TICK_DELAY_S": "now"}, "SECOND_TICK_DELAY_S must be an integer, got 'now'"),
        (NotifyPagerDutySettings, {"RETRY_BASE_S": "0"}, r"RETRY_BASE_S must be in \[1, 900\], got 0"),
        (NotifyPagerDutySettings, {"EVENTS_URL": "http://example.com"}, "EVENTS_URL must be https"),
        (NotifyPagerDutySettings, {"PAGES_TABLE": ""}, "NotifyPagerDutySettings: PAGES_TABLE must be set"),
    ],
)
def test_a_variable_that_cannot_be_is_named(cls, changes, expected):
    with pytest.raises(SettingsError, match=expected):
        cls.from_env(env(cls, **changes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", "METRICS must be JSON, got 'cpu'"),
        ('{"name": "cpu"}', "DetectSettings: METRICS: must be a list"),
        ("[1]", r"DetectSettings: METRICS\[0\]: must be a mapping, got 1"),
        (
            '[{"nam": "cpu"}]',
            r"DetectSettings: METRICS\[0\].nam: unknown key; known here: name, unit, minimum, maximum",
        ),
        ('[{"unit": "%"}]', r"DetectSettings: METRICS\[0\].name: must be set"),
        ('[{"name": "cpu", "minimum": "0"}]', r"DetectSettings: METRICS\[0\].minimum: must be a number, got '0'"),
        ('[{"name": "cpu", "minimum": 1, "maximum": 1}]', r"METRICS\[0\].minimum: must be below maximum 1.0, got 1.0"),
        ('[{"name": "a"}, {"name": "a"}]', "METRICS must be a list with distinct names"),
        ("[]", "METRICS must be a list with distinct names"),
    ],
)
def test_a_metric_typo_is_named(text, expected):
    with pytest.raises(SettingsError, match=expected):
        DetectSettings.from_env(env(DetectSettings, METRICS=text))
