"""The deployed training pipeline, executed from its own definition: what it registers, and what keeps it from it."""

import argparse
import io
import json
import tarfile
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cli import model as model_command
from demo import cloud as stage
from emulator.launcher import EmbeddedCloud
from tests.unit.detection_fakes import METRICS, fleet
from tests.unit.override_fakes import ENTRY
from training.evaluate.scorers import PREFIX, Scorers
from treeline.app.detect.override import Override
from treeline.app.learn.training_runs import start_training
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.learn.registry import ModelRegistry
from treeline.core.model.package import ModelPackage
from treeline.forest.storage import read_model_tar
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
SERVERS, DAYS, STRIDE = 4, 5, 10
PATIENCE_S = 300.0


class Training:
    """A deployed pipeline, a small history, and the verbs of these tests."""

    def __init__(self, deployment: stage.Deployment) -> None:
        self.deployment = deployment
        self.sagemaker = deployment.client("sagemaker")
        self.name = deployment.output(outputs.PIPELINE_NAME)
        self.pipeline = SageMakerTrainingPipeline(self.sagemaker, self.name)
        self.registry = ModelRegistry(self.sagemaker, deployment.output(outputs.MODEL_GROUP))
        self.definition = json.loads(self.sagemaker.describe_pipeline(PipelineName=self.name)["PipelineDefinition"])
        sqs = deployment.client("sqs")
        self.inbox = sqs.create_queue(QueueName="operations-inbox")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.inbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        deployment.client("sns").subscribe(
            TopicArn=deployment.output(outputs.OPERATIONS_TOPIC_ARN),
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )

    def put_history(self) -> None:
        """Five days of four servers, an observation each ten minutes."""
        grid = fleet(SERVERS, 1440 * DAYS)
        grid = replace(grid, times_ms=grid.times_ms[::STRIDE], values=grid.values[::STRIDE])
        times, servers, _ = grid.values.shape
        columns = {
            "timestamp": pd.to_datetime(np.repeat(grid.times_ms, servers), unit="ms", utc=True),
            "server_id": np.tile(np.array(grid.servers), times),
        }
        columns |= {name: grid.values[:, :, i].ravel() for i, name in enumerate(grid.metrics)}
        body = io.BytesIO()
        pd.DataFrame(columns).to_parquet(body, index=False)
        bucket = self.deployment.output(outputs.TRAINING_BUCKET)
        self.deployment.client("s3").put_object(Bucket=bucket, Key="history/part.parquet", Body=body.getvalue())

    def deploy(self, definition: dict) -> None:
        """Change the pipeline, as a deployment would."""
        self.sagemaker.update_pipeline(PipelineName=self.name, PipelineDefinition=json.dumps(definition))

    def start(self, request_id: str, override: Override | None = None) -> str:
        started = start_training(
            self.pipeline, reason=request_id, window_end_ms=None, request_id=request_id, override=override
        )
        assert started.is_new
        return started.run_id

    def end(self, run_id: str):
        """The run once it has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while (run := self.pipeline.describe(run_id)).is_active:
            assert time.monotonic() < deadline, run
            time.sleep(0.1)
        return run

    def asked(self, run_id: str, step: str) -> list[str]:
        """The container arguments of a run's processing step."""
        steps = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=run_id)["PipelineExecutionSteps"]
        (arn,) = [s["Metadata"]["ProcessingJob"]["Arn"] for s in steps if s["StepName"] == step]
        job = self.sagemaker.describe_processing_job(ProcessingJobName=arn.rsplit("/", 1)[1])
        return job["AppSpecification"]["ContainerArguments"]

    def hosted(self) -> None:
        """Until the endpoint of the first approved model is there: promotion makes it, nobody else."""
        endpoint = self.deployment.output(outputs.ENDPOINT_NAME)
        deadline = time.monotonic() + PATIENCE_S
        while endpoint not in [e["EndpointName"] for e in self.sagemaker.list_endpoints()["Endpoints"]]:
            assert time.monotonic() < deadline, "the approved model is not hosted"
            time.sleep(0.1)

    def told(self, run_id: str) -> dict:
        """What the operations topic was told about a run."""
        sqs = self.deployment.client("sqs")
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=self.inbox, WaitTimeSeconds=1).get("Messages", []):
                sqs.delete_message(QueueUrl=self.inbox, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                if body.get("run") == run_id:
                    return body
        raise AssertionError(f"nobody was told how {run_id} ended")

    def versions(self) -> list[str]:
        return [model.model_version for model in self.registry.models()]


@pytest.fixture(scope="module")
def training(assembly, cloud_port, tmp_path_factory):
    with EmbeddedCloud(port=cloud_port, directory=tmp_path_factory.mktemp("training")) as cloud:
        yield Training(stage.deploy(cloud, assembly))


def argument(definition: dict, step: str, flag: str, value: str) -> dict:
    """A copy of a definition with one argument of a processing step changed."""
    changed = json.loads(json.dumps(definition))
    (found,) = [s for s in changed["Steps"] if s["Name"] == step]
    arguments = found["Arguments"]["AppSpecification"]["ContainerArguments"]
    arguments[arguments.index(flag) + 1] = value
    return changed


def test_a_run_without_history_fails_and_says_so(training: Training):
    run_id = training.start("without history")
    run = training.end(run_id)
    assert run.status == "Failed"
    told = training.told(run_id)
    assert told["event"] == "training_failed"
    assert "history" in told["why"]
    assert [step["step"] for step in told["failed_steps"]] == ["Prepare"]
    assert training.versions() == []


def test_a_training_job_that_fails_registers_nothing_and_its_reason_is_told(training: Training):
    training.put_history()
    broken = json.loads(json.dumps(training.definition))
    (train,) = [s for s in broken["Steps"] if s["Name"] == "Train"]
    train["Arguments"]["HyperParameters"]["num_trees"] = "7"
    training.deploy(broken)
    run_id = training.start("broken forest")
    run = training.end(run_id)
    assert run.status == "Failed"
    assert "num_trees must be in [50, 1000]" in training.told(run_id)["why"]
    assert training.versions() == []


def test_a_candidate_that_is_not_good_enough_is_not_registered_and_the_reason_is_told(training: Training):
    training.deploy(argument(training.definition, "Evaluate", "--min-recall", "1.01"))
    run_id = training.start("asked too much")
    run = training.end(run_id)
    assert run.steps[-1][:2] == ("Reject", "Failed")
    why = training.told(run_id)["why"]
    assert "the candidate is not registered" in why
    assert "needed are 101%" in why
    assert training.versions() == []


def test_a_good_candidate_is_registered_and_approved_with_all_that_promotion_needs(training: Training):
    training.deploy(training.definition)
    run_id = training.start("first model", replace(ENTRY, forest={"num_trees": 60}, policy={"needed": 1, "of_last": 1}))
    again = start_training(training.pipeline, reason="drift", window_end_ms=None, request_id="another request")
    assert (again.run_id, again.is_new) == (run_id, False), "two runs at a time"
    run = training.end(run_id)
    assert run.status == "Succeeded", run
    (model,) = training.registry.models()
    assert model.arn == run.registered == training.told(run_id)["why"].removeprefix("registered ")
    assert (model.approval, model.reason, model.algorithm) == ("Approved", "first model", "container")
    artifacts = ModelArtifacts(training.deployment.client("s3"), training.deployment.output(outputs.MODELS_BUCKET))
    assert artifacts.exists(model.model_data_url)
    package = ModelPackage.from_bytes(artifacts.read(model.package_key) or b"")
    assert (package.model_version, package.fingerprint) == (model.model_version, model.fingerprint)
    assert package.metrics == METRICS
    assert package.manifest["reference"]["score_sd"] > 0
    evaluation = json.loads(artifacts.read(model.evaluation_url.split("/", 3)[3]) or b"{}")
    assert evaluation["passed"]
    assert evaluation["champion"] is None
    forest = read_model_tar(artifacts.read(model.model_data_url.split("/", 3)[3]) or b"")
    assert forest.num_trees == 60, "what an operator overrides, not the stage's number of trees"
    asked = training.asked(run_id, "Evaluate")
    assert json.loads(asked[asked.index("--policy-override") + 1]) == {"needed": 1, "of_last": 1}
    training.hosted()


def test_the_command_says_what_is_registered_and_how_runs_ended(training: Training, capsys):
    def say(*words: str) -> list[str]:
        parser = argparse.ArgumentParser()
        model_command.register(parser)
        assert model_command.run(parser.parse_args([*words, "--stage", "local"]), training.deployment.client) == 0
        return capsys.readouterr().out.splitlines()

    (model,) = training.registry.models()
    (line,) = say("list")
    assert model.model_version in line
    assert "Approved" in line
    newest, refused, *_ = say("runs")
    assert model.arn in newest
    assert "needed are 101%" in refused


def test_an_artifact_that_only_its_container_can_read_is_hosted_while_it_is_asked(training: Training, tmp_path):
    """As the built-in algorithm's: the archive holds no forest of ours, the endpoint scores nevertheless."""
    (model,) = training.registry.models()
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("model_algo-1"))
    bucket, _, key = model.model_data_url.removeprefix("s3://").partition("/")
    body = training.deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    rows = np.random.default_rng(1).normal(size=(7000, 12)).astype(np.float32)
    role = "arn:aws:iam::000000000000:role/treeline-training"
    with Scorers(training.deployment.client, "m1", model.image, role, "ml.m5.large", poll_s=0.05) as scorers:
        scores = scorers.of_artifact(tmp_path, model.model_data_url)(rows)
        hosted = training.sagemaker.list_endpoints(NameContains=PREFIX)["Endpoints"]
        assert [e["EndpointName"] for e in hosted] == [f"{PREFIX}m1-0"]
    assert np.allclose(scores, read_model_tar(body).score(rows))
    deadline = time.monotonic() + PATIENCE_S
    while training.sagemaker.list_endpoints(NameContains=PREFIX)["Endpoints"]:
        assert time.monotonic() < deadline, "the endpoint was left behind"
        time.sleep(0.05)
