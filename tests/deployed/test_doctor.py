"""`treeline doctor` against the embedded cloud: before a deploy, right after it, and when all is there."""

import json
from pathlib import Path

import pytest

from cli.doctor.checks import CheckState
from cli.doctor.command import diagnose
from cli.main import run
from demo import cloud as demo_cloud
from emulator.launcher import EmbeddedCloud
from stacks.config import stage as config
from tests.deployed.pipeline import Model, Pipeline, samples
from treeline.settings import outputs

pytestmark = pytest.mark.cloud


def _states(cloud: EmbeddedCloud) -> dict[str, CheckState]:
    return {what: f.state for what, f in diagnose(config.load("local"), cloud.client, is_local=True)}


def test_an_empty_account_lacks_bootstrap_and_stacks(tmp_path: Path):
    with EmbeddedCloud(directory=tmp_path) as cloud:
        assert _states(cloud) == {"CDK bootstrap": CheckState.TODO, "stacks": CheckState.TODO}


def test_a_fresh_deployment_is_told_what_is_missing_and_a_complete_one_nothing(
    assembly: Path, cloud_port: int, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with EmbeddedCloud(port=cloud_port, directory=tmp_path) as cloud:
        report = cloud.deploy(assembly)
        found = dict(diagnose(config.load("local"), cloud.client, is_local=True))
        missing = {what for what, f in found.items() if f.state is CheckState.TODO}
        assert {"subscribers of operations", "PagerDuty's key", "model", "endpoint", "servers"} <= missing
        assert found["stacks"].state is CheckState.OK
        assert found["CDK bootstrap"].state is CheckState.OK
        assert all(found[what].do for what in missing), "each says what to do"
        assert report.output(outputs.ROUTING_KEY_SECRET_ARN) in found["PagerDuty's key"].do

        pipeline = Pipeline.start(cloud, assembly, model)
        pipeline.send(samples(pipeline.present, 0, 3))
        pipeline.wait_decided(36)
        topic = pipeline.deployment.output(outputs.OPERATIONS_TOPIC_ARN)
        cloud.client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:mine"
        )
        code = run(["doctor", "--stage", "local", "--port", str(cloud_port), "--json"])

    told = json.loads(capsys.readouterr().out)
    states = {f["what"]: f["state"] for f in told["findings"]}
    for what in ("subscribers of operations", "PagerDuty's key", "model", "endpoint", "servers"):
        assert states[what] == "ok", what
    assert code == (0 if set(states.values()) == {"ok"} else 1)
    assert demo_cloud.ROUTING_KEY not in json.dumps(told), "the key is looked for, never shown"
