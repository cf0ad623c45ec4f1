"""A stage with a further profile: both page under names of their own; promoting one's model leaves the other's."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli import model as model_command
from cli.main import run
from demo import cloud as stage
from demo.cloud import Deployment
from demo.ledger import Books
from demo.producer import record
from emulator.launcher import EmbeddedCloud
from stacks.config.stage import merged
from tests.deployed.pipeline import OVERRIDES, PATIENCE_S, SERVERS, TRAIN, Model, Pipeline, part, samples
from tests.deployed.promotions import Promotions
from tests.unit.detection_fakes import METRICS, fleet
from training.evaluate.backtest import backtest
from training.history.grid import Grid
from treeline.aws.detect.models import ModelStore
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import PolicySettings
from treeline.core.profile import declared
from treeline.core.times import iso
from treeline.forest.storage import read_model_tar
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
BATCH = ("queue_length", "failed_percent")
POLICY = {"needed": 3, "of_last": 4}
PROFILE = {"metrics": [{"name": name} for name in BATCH], "detection": {"policy": POLICY}}
STEPS, JOBS = 95, 8  # web-03 of either fleet goes wrong after an hour


def jobs() -> Grid:
    """Another fleet with some of the same servers' names, and other metrics: web-03 and web-05 go wrong."""
    grid = fleet(JOBS, TRAIN + STEPS, seed=7)
    values = grid.values[:, :, : len(BATCH)].copy()
    values[TRAIN + 60 : TRAIN + 90, [3, 5]] += 45.0
    return replace(grid, metrics=BATCH, values=np.clip(values, 0.0, 100.0))


def pointer(deployment: Deployment) -> object:
    """Which model decides."""
    table, bucket = deployment.output(outputs.CONTROLS_TABLE), deployment.output(outputs.MODELS_BUCKET)
    return ModelStore(
        deployment.client("dynamodb"), deployment.client("s3"), controls_table=table, bucket=bucket
    ).read()


@pytest.mark.slow("two fleets' models are trained, and both fleets send for an hour and a half of event time")
def test_two_profiles_page_under_names_of_their_own(
    tmp_path: Path, cloud_port: int, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedCloud(port=cloud_port, directory=tmp_path) as cloud:
        overrides = merged(OVERRIDES, {"profiles": {"batch": PROFILE}})
        assembly = stage.build(tmp_path / "assembly", declared(METRICS), cloud.pagerduty.url, overrides)
        servers = Pipeline.start(cloud, assembly, model)
        decides = pointer(servers.deployment)
        batch = promoted(replace(servers.deployment, profile="batch"), servers)
        assert pointer(servers.deployment) == decides, "another profile's promotion is no concern of the servers"
        variants = cloud.client("sagemaker").describe_endpoint(EndpointName="treeline-local")["ProductionVariants"]
        assert [v["VariantName"] for v in variants] == ["blue"]

        begin, last = (int(servers.present.times_ms[i]) for i in (0, STEPS - 1))
        mute = ("mute", "add", "--server", "web-05", "--from", iso(begin), "--for", "1d", "--by", "ann")
        assert run([*mute, "--reason", "new disk", "--stage", "local", "--port", str(cloud_port)]) == 0
        servers.send(samples(servers.present, 0, STEPS))
        batch.send_raw((s, record(at, s, values, BATCH)) for at, s, values in samples(batch.present))
        servers.wait_decided(STEPS * SERVERS)
        batch.wait_decided(STEPS * JOBS)

        expected = {f"local/{server}": at for server, at in opened(servers).items() if at <= iso(last)}
        expected |= {f"local/batch/{server}": at for server, at in opened(batch).items() if server != "web-05"}
        assert set(expected) == {"local/web-03", "local/batch/web-03"}
        wait_paged(servers, expected)
        assert {i.split("/")[0] for i in servers.books.incidents()} == {"web-03"}
        told = {i.split("/")[0]: [a.event for a in alerts] for i, alerts in batch.books.incidents().items()}
        assert set(told) == {"web-03", "web-05"}, "a profile's incidents are in its own table"
        assert told["web-05"][0] is AlertEvent.SUPPRESSED, "a mute names a server, whatever that sends"
        assert listed(batch.deployment, "batch", capsys) == {"batch-1": True}
        assert listed(batch.deployment, "", capsys) == {}, "the servers' first model was put in place by hand"


def promoted(deployment: Deployment, servers: Pipeline) -> Pipeline:
    """A first model of the profile, from its approval to the endpoint; and what its fleet does next, offline."""
    grid = jobs()
    past, present = part(grid, 0, TRAIN), part(grid, TRAIN, TRAIN + STEPS)
    promotions = Promotions(deployment)
    package = promotions.train(past, "batch-1")
    url = promotions.model_data("batch-1")
    promotions.register("batch-1", url)
    promotions.stage("done", version="batch-1")
    assert promotions.variants() == ["batch-1"]
    assert {change["source"] for change in promotions.changes()} == {"treeline-local/batch"}
    bucket, _, key = url.removeprefix("s3://").partition("/")
    forest = read_model_tar(deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    offline = backtest(package, present, forest.score, PolicySettings(**POLICY))
    return Pipeline(deployment, present, offline, servers.feed, Books(deployment))


def opened(pipeline: Pipeline) -> dict[str, str]:
    """Server -> when its first incident opens, as the same history has it without any cloud."""
    changes = [(server, change) for server, change in pipeline.offline.changes if change.event is AlertEvent.OPENED]
    return {server: iso(change.at) for server, change in reversed(changes)}


def wait_paged(pipeline: Pipeline, expected: dict[str, str]) -> None:
    """Until PagerDuty's stand-in has what is expected, and nothing else: dedup key -> time of its first trigger."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        triggers = [page for page in pipeline.pages() if page["event_action"] == "trigger"]
        paged = {
            page["dedup_key"].removeprefix("000000000000/us-east-1/"): page["payload"]["timestamp"]
            for page in reversed(triggers)
        }
        if paged.keys() >= expected.keys():
            assert paged == expected
            return
        assert time.monotonic() < deadline, f"{paged} paged of {expected}; {pipeline.trouble()}"
        time.sleep(0.3)


def listed(deployment: Deployment, profile: str, capsys: pytest.CaptureFixture[str]) -> dict[str, bool]:
    """Registered models of a profile, and whether they decide, as the command says."""
    parser = argparse.ArgumentParser()
    model_command.register(parser)
    capsys.readouterr()
    asked = parser.parse_args(["list", "--stage", "local", "--profile", profile, "--json"])
    assert model_command.run(asked, deployment.client) == 0
    return {found["model_version"]: found["is_active"] for found in json.loads(capsys.readouterr().out)}
