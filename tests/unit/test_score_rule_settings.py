"""The rule of the score on its way: from a stage's file to the function, into an origin, and to who decides."""

import json
from dataclasses import replace

import pytest

from stacks.config import stage as stage_config
from tests.unit.core.fleets import CALIBRATION, ready_state
from tests.unit.detection_fakes import fleet, trained
from treeline.app.detect.origin import Origin
from treeline.app.detect.rules import Rules
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import SettingsError
from treeline.core.severity import Thresholds
from treeline.settings.environment import overrides
from treeline.settings.values import read

GIVEN = {"rule": "ema", "half_life_s": 7200, "sd_factor": 4, "p1_sd_factor": 6, "fleet_weight": 0.5}
EMA = ScoreSettings(rule=ScoreRule.EMA, half_life_s=7200.0, sd_factor=4.0, p1_sd_factor=6.0, fleet_weight=0.5)


def test_what_a_stages_file_says_is_what_the_function_hears():
    stage = stage_config.load("local", {"detection": {"policy": {"score": GIVEN}}})
    assert stage.detection.policy.score == EMA
    text = overrides(stage.detection.policy)
    assert '"ema"' in text
    assert read(PolicySettings, json.loads(text), "POLICY") == PolicySettings(score=EMA)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rule": "sigma"}, r"detection\.policy\.score\.rule: must be one of rarity, ema, three_sigma, got 'sigma'"),
        ({"sd_factor": 5}, r"detection\.policy\.score\.p1_sd_factor: must be above sd_factor"),
        ({"fleet_weight": 2}, r"detection\.policy\.score\.fleet_weight: must be in \[0, 1\], got 2"),
    ],
)
def test_a_wrong_rule_is_named_before_anything_is_deployed(given, expected):
    with pytest.raises(SettingsError, match=expected):
        stage_config.load("local", {"detection": {"policy": {"score": given}}})


def origin(policy):
    state = ready_state(1)
    return Origin(server_id="s00", state=state, levels={7: 0.5}, score_excesses={7: 0.25}, policy=policy)


def test_an_origin_keeps_the_rule_and_what_the_group_shared():
    read_back = Origin.unpack(origin(PolicySettings(score=EMA)).pack())
    assert (read_back.policy, read_back.levels, read_back.score_excesses) == (
        PolicySettings(score=EMA),
        {7: 0.5},
        {7: 0.25},
    )


def test_an_earlier_versions_policy_is_read_as_rarity():
    body = PolicySettings(quiet_s=60.0).to_json()
    del body["score"]
    assert PolicySettings.from_json(body) == PolicySettings(quiet_s=60.0)


def test_a_stage_decides_by_its_rule_whatever_the_package_says():
    package = replace(trained(fleet(2, 1500)), calibration=CALIBRATION)
    rules = Rules.of(package, PolicySettings(score=EMA))
    assert rules.calibration["score"] == Thresholds(p2=4.0, p1=6.0)
    assert rules.calibration["relation"] == CALIBRATION["relation"]
    assert Rules.of(package, PolicySettings()).calibration == CALIBRATION
