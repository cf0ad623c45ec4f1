"""A typo in a setting gives one line that names the field, its value and what was expected."""

import pytest

from stacks.config import stage as stage_config
from treeline.core import profile
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import SettingsError
from treeline.settings.pipeline import DetectSettings, DispatchSettings, NotifyPagerDutySettings
from treeline.settings.policy import policy_from_text


def env(cls, **changes: str) -> dict[str, str]:
    """Every variable set, some of them to something else."""
    return {**{name.upper(): "1" for name in cls.__dataclass_fields__}, "PAGING": "people", **changes}


def test_a_policy_is_the_defaults_with_what_is_given():
    assert policy_from_text("{}") == PolicySettings()
    assert policy_from_text('{"needed": 3, "of_last": 5, "quiet_s": 60}') == PolicySettings(
        needed=3, of_last=5, quiet_s=60.0
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"need": 2}', "POLICY: need: unknown setting; known: needed, of_last,"),
        ('{"needed": "2"}', "POLICY: needed must be an integer, got '2'"),
        ('{"needed": 2.5}', "POLICY: needed must be an integer, got 2.5"),
        ('{"needed": true}', "POLICY: needed must be an integer, got True"),
        ('{"quiet_s": null}', "POLICY: quiet_s must be a number, got None"),
        ('{"quiet_s": NaN}', "POLICY: quiet_s must be a number, got nan"),
        ('{"quiet_s": -1}', "POLICY: quiet_s and cooldown_s must be >= 0, got -1.0"),
        ('{"needed": 5}', "POLICY: persistence needs 1 <= needed <= of_last <= 32, got 5 of 3"),
        ("[2, 3]", "POLICY must be a mapping of policy settings, got"),
        ("needed=2", "POLICY must be a JSON object of policy settings, got 'needed=2'"),
    ],
)
def test_a_policy_typo_is_named(text, expected):
    with pytest.raises(SettingsError) as caught:
        policy_from_text(text)
    assert str(caught.value).startswith(expected)


def test_a_policy_typo_in_a_stage_file_is_found_before_anything_is_deployed():
    with pytest.raises(SettingsError, match=r"detection\.policy: need: unknown setting"):
        stage_config.load("local", {"detection": {"policy": {"need": 2}}})


@pytest.mark.parametrize(
    ("cls", "changes", "expected"),
    [
        (DetectSettings, {"GROUP_SIZE": "fifty"}, "GROUP_SIZE must be an integer, got 'fifty'"),
        (DetectSettings, {"GROUP_SIZE": "51"}, r"GROUP_SIZE must be in \[1, 50\] \(one endpoint call\), got 51"),
        (DetectSettings, {"WATERMARK_WAIT_S": "nan"}, "WATERMARK_WAIT_S must be a finite number, got 'nan'"),
        (DetectSettings, {"PAGING": "poeple", "SCORE_TTL_S": "3600"}, "PAGING must be people or shadow, got 'poeple'"),
        (DetectSettings, {"STATE_TABLE": ""}, "DetectSettings: STATE_TABLE must be set"),
        (DispatchSettings, {"SECOND_TICK_DELAY_S": "901"}, r"SECOND_TICK_DELAY_S must be in \[0, 900\]"),
        (NotifyPagerDutySettings, {"TIMEOUT_S": "0"}, r"TIMEOUT_S must be in \(0, 60\], got 0"),
        (NotifyPagerDutySettings, {"PAGES_TABLE": ""}, "NotifyPagerDutySettings: PAGES_TABLE must be set"),
    ],
)
def test_a_variable_that_cannot_be_is_named(cls, changes, expected):
    with pytest.raises(SettingsError, match=expected):
        cls.from_env(env(cls, **changes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", r"a metric set must be a JSON list of \{name, unit, minimum, maximum\}, got 'cpu'"),
        ('{"name": "cpu"}', "a metric set must be a JSON list"),
        ('[{"nam": "cpu"}]', "a metric must be .* with a text name"),
        ('[{"name": "cpu", "unitt": "%"}]', "metric cpu: unitt: unknown field; known: name, unit, minimum, maximum"),
        ('[{"name": "cpu", "minimum": "0"}]', "metric cpu: minimum must be a number, got '0'"),
        ("[]", "a metric set needs distinct names"),
    ],
)
def test_a_metric_typo_is_named(text, expected):
    with pytest.raises(SettingsError, match=expected):
        profile.from_json(text)
