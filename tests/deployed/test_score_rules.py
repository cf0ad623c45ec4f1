"""A stage that holds the forest's score against something else than its rarity finds what a backtest with it finds."""

from dataclasses import asdict

import pytest

from demo import cloud as stage
from emulator.launcher import EmbeddedCloud
from stacks.config.stage import merged
from tests.deployed.pipeline import OVERRIDES, SERVERS, TEST, Model, Pipeline, samples
from tests.unit.detection_fakes import METRICS
from training.evaluate.backtest import backtest
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.detection.policy import PolicySettings
from treeline.core.profile import declared
from treeline.core.times import parse_iso

pytestmark = pytest.mark.cloud
# Twelve servers are enough for what a group's scores share, and an hour is short enough for the mean to move here.
EMA = ScoreSettings(rule=ScoreRule.EMA, half_life_s=3600.0, sd_factor=2.5, p1_sd_factor=4.0, fleet_weight=0.5)
THREE_SIGMA = ScoreSettings(rule=ScoreRule.THREE_SIGMA, sd_factor=2.5, p1_sd_factor=4.0)


@pytest.mark.slow("a stage is synthesized and deployed for each rule")
@pytest.mark.parametrize("rule", [EMA, THREE_SIGMA], ids=lambda rule: rule.rule.value)
def test_a_deployed_stage_decides_by_the_rule_that_its_file_chooses(tmp_path, cloud_port, model: Model, rule):
    """The same changes at the same times and severities, which are not those of the usual rule."""
    policy = PolicySettings(score=rule)
    overrides = merged(OVERRIDES, {"detection": {"policy": {"score": asdict(rule) | {"rule": rule.rule.value}}}})
    with EmbeddedCloud(port=cloud_port, directory=tmp_path) as cloud:
        chosen = stage.build(tmp_path / "assembly", declared(METRICS), cloud.pagerduty.url, overrides)
        pipeline = Pipeline.start(cloud, chosen, model)
        usual = pipeline.offline_sequences()
        package, forest = model.trained
        pipeline.offline = backtest(package, pipeline.present, forest.score, policy)
        assert pipeline.offline_sequences() != usual

        pipeline.send(samples(pipeline.present))
        pipeline.wait_decided(TEST * SERVERS)

        pipeline.assert_as_undisturbed()
        assert {"web-03", "web-07"} <= pipeline.table_sequences().keys()
        told = {(a.server_id, parse_iso(a.clocks.observed_at)): a.severity for a in pipeline.told}
        assert told == {(s, c.at): pytest.approx(c.severity, rel=1e-3) for s, c in pipeline.offline.changes}
