"""A stage whose forest is SageMaker's: from history to pages, with an artifact that only its own container can read."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from demo import cloud as stage
from demo.alerts import AlertFeed
from demo.cloud import Deployment
from demo.ledger import Books
from emulator.launcher import EmbeddedCloud
from stacks.config.stage import merged
from tests.deployed.pipeline import OVERRIDES, SERVERS, TEST, TRAIN, Pipeline, part, samples, whole_fleet
from tests.deployed.promotions import Promotions
from tests.deployed.training import Training
from tests.unit.detection_fakes import METRICS
from training.evaluate.backtest import backtest
from training.evaluate.scorers import PREFIX
from training.prepare.fleet_file import FleetFile
from treeline.aws.detect.endpoint import Endpoint
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.registry import RegisteredModel
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import ModelMismatchError
from treeline.core.model.package import ModelPackage
from treeline.core.payload import score_rows
from treeline.core.profile import declared
from treeline.forest.storage import read_model_tar
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
LEARNING = {"algorithm": "built-in", "training": {"window_days": 1.75, "holdout_days": 0.25}}
START, WATCHED = 30, 165  # steps: before the canary, and up to its end


@pytest.mark.slow("two training runs from history to registry, and a canary of two hours of event time")
def test_a_stage_on_the_built_in_algorithm_trains_promotes_and_pages(tmp_path: Path, cloud_port: int) -> None:
    with EmbeddedCloud(port=cloud_port, directory=tmp_path) as cloud:
        overrides = merged(OVERRIDES, {"learning": LEARNING})
        assembly = stage.build(tmp_path / "assembly", declared(METRICS), cloud.pagerduty.url, overrides)
        deployment = stage.deploy(cloud, assembly)
        training, promotions = Training(deployment), Promotions(deployment)
        training.put_history(part(whole_fleet(), 0, TRAIN))

        first = registered(training, "first model")
        promotions.stage("done", version=first.model_version)
        assert promotions.variants() == [first.model_version]
        assert is_opaque(artifact(deployment, first))
        package = package_of(deployment, first)
        assert package.manifest["reference"]["score_mean"] == pytest.approx(
            scores_unseen(deployment, first, tmp_path / "fleet").mean()
        )
        pipeline = sending(deployment, package)
        pipeline.send(samples(pipeline.present, 0, START))
        pipeline.wait_decided(START * SERVERS)

        second = registered(training, "retrained")
        assert evaluation_of(deployment, second)["champion"]["model_version"] == first.model_version
        assert training.sagemaker.list_endpoints(NameContains=PREFIX)["Endpoints"] == [], "left behind by Evaluate"
        execution = promotions.stage("canary", version=second.model_version).execution
        assert promotions.variants() == sorted([first.model_version, second.model_version])
        pipeline.send(samples(pipeline.present, START, WATCHED))
        pipeline.wait_decided(WATCHED * SERVERS)
        pipeline.invoke(outputs.DISPATCH_FUNCTION)
        assert promotions.ended(execution) == "SUCCEEDED", promotions.trouble()
        assert promotions.models.read().model_version == second.model_version
        pipeline.send(samples(pipeline.present, WATCHED, TEST))
        pipeline.wait_decided(TEST * SERVERS)

        promotions.wait(lambda: opened(pipeline) >= {"web-03", "web-07"}, "both incidents told")
        promotions.wait(lambda: pipeline.page_sequences().keys() >= {"web-03", "web-07"}, "both incidents paged")
        assert pipeline.ledger().scored_twice == set()


def registered(training: Training, reason: str) -> RegisteredModel:
    """What a run of the deployed pipeline put into the registry."""
    run = training.end(training.start(reason))
    assert run.status == "Succeeded", run
    model = next(training.registry.models())
    assert (model.arn, model.algorithm, model.approval) == (run.registered, "built-in", "Approved")
    return model


def artifact(deployment: Deployment, model: RegisteredModel) -> bytes:
    """The training job's model.tar.gz."""
    bucket, _, key = model.model_data_url.removeprefix("s3://").partition("/")
    return bytes(deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def is_opaque(content: bytes) -> bool:
    """Whether an artifact is laid out as AWS's, and none of our readers finds a forest in it."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        names = archive.getnames()
        inside = archive.extractfile(names[0])
        assert inside is not None
        with pytest.raises((ValueError, OSError)):
            np.load(io.BytesIO(inside.read()))
    with pytest.raises(ModelMismatchError):
        read_model_tar(content)
    return names == ["model_algo-1"]


def package_of(deployment: Deployment, model: RegisteredModel) -> ModelPackage:
    """What Evaluate calibrated."""
    artifacts = ModelArtifacts(deployment.client("s3"), deployment.output(outputs.MODELS_BUCKET))
    return ModelPackage.from_bytes(artifacts.read(model.package_key) or b"")


def evaluation_of(deployment: Deployment, model: RegisteredModel) -> dict:
    """Evaluate's verdict."""
    bucket, _, key = model.evaluation_url.removeprefix("s3://").partition("/")
    return dict(json.loads(deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()))


def endpoint_score(deployment: Deployment, rows: np.ndarray) -> np.ndarray:
    """Scores that the promoted model's endpoint gives."""
    endpoint = Endpoint(deployment.client("sagemaker-runtime"), deployment.output(outputs.ENDPOINT_NAME))
    return score_rows(endpoint.score, rows)


def scores_unseen(deployment: Deployment, model: RegisteredModel, folder: Path) -> np.ndarray:
    """The endpoint's scores of the rows that Prepare kept from the training job."""
    s3, bucket = deployment.client("s3"), deployment.output(outputs.TRAINING_BUCKET)
    folder.mkdir()
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"runs/{model.model_version}/fleet/")["Contents"]
    for key in (entry["Key"] for entry in listed):
        s3.download_file(bucket, key, str(folder / key.rpartition("/")[2]))
    return endpoint_score(deployment, FleetFile.read(folder).prepared.unseen_rows)


def sending(deployment: Deployment, package: ModelPackage) -> Pipeline:
    """What the fleet does next, on the stream and offline, both with the endpoint's scores."""
    present = part(whole_fleet(), TRAIN, TRAIN + TEST)
    offline = backtest(package, present, lambda rows: endpoint_score(deployment, rows), PolicySettings())
    return Pipeline(deployment, present, offline, AlertFeed(deployment), Books(deployment))


def opened(pipeline: Pipeline) -> set[str]:
    """Servers of which an incident has been told."""
    pipeline.told += pipeline.feed.read()
    return {alert.server_id for alert in pipeline.told if alert.event is AlertEvent.OPENED}
