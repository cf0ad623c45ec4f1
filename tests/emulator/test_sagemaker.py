"""The SageMaker-compatible server: jobs that fit, endpoints that score, contract errors, faults."""

import json
import time
from collections import Counter

import boto3
import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emulator.launcher import EmbeddedCloud
from tests.emulator.conftest import SmallSystem, wait_for
from treeline.forest.storage import read_model_tar

pytestmark = pytest.mark.cloud
ROLE = "arn:aws:iam::000000000000:role/sagemaker-execution"
DIM = 3
OURS, BUILT_IN = "treeline:latest", "382416733822.dkr.ecr.us-east-1.amazonaws.com/randomcutforest:1"


class Host:
    """A bucket with training rows, and the verbs of this test."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.cloud = cloud
        self.sagemaker = cloud.client("sagemaker")
        # Each answer is looked at, so none is asked for again: the SDK would back off for ten seconds from a fault.
        once = Config(proxies={}, retries={"total_max_attempts": 1})
        self.runtime = boto3.client(
            "sagemaker-runtime",
            endpoint_url=cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=once,
        )
        self.s3 = cloud.client("s3")
        self.s3.create_bucket(Bucket="training")
        rows = np.random.default_rng(1).normal(size=(2000, DIM))
        body = "\n".join(",".join(f"{v:.6f}" for v in row) for row in rows)
        self.s3.put_object(Bucket="training", Key="train/part-0.csv", Body=body.encode())

    def train(self, name: str, image: str = OURS, **hyperparameters: str) -> dict:
        source = {"S3DataType": "S3Prefix", "S3Uri": "s3://training/train/", "S3DataDistributionType": "ShardedByS3Key"}
        self.sagemaker.create_training_job(
            TrainingJobName=name,
            RoleArn=ROLE,
            AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
            HyperParameters={"feature_dim": str(DIM), "num_trees": "50", **hyperparameters},
            InputDataConfig=[
                {"ChannelName": "train", "ContentType": "text/csv;label_size=0", "DataSource": {"S3DataSource": source}}
            ],
            OutputDataConfig={"S3OutputPath": "s3://training/artifacts"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            StoppingCondition={"MaxRuntimeInSeconds": 600},
        )
        return wait_for(lambda: self._ended(name))

    def _ended(self, name: str) -> dict | None:
        job = self.sagemaker.describe_training_job(TrainingJobName=name)
        return None if job["TrainingJobStatus"] in ("InProgress", "Stopping") else job

    def config(self, name: str, weights: dict[str, float], model: str = "first") -> None:
        variants = [
            {
                "VariantName": v,
                "ModelName": model,
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "InitialVariantWeight": w,
            }
            for v, w in weights.items()
        ]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)

    def status(self, endpoint: str) -> str:
        return self.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]

    def in_service(self, endpoint: str) -> None:
        wait_for(lambda: self.status(endpoint) == "InService")

    def invoke(self, endpoint: str = "scorer", body: bytes = b"0,0,0\n9,9,9", **more) -> tuple[list[float], str]:
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=body, **more)
        scores = [s["score"] for s in json.loads(answer["Body"].read())["scores"]]
        return scores, answer["InvokedProductionVariant"]


@pytest.fixture(scope="module")
def host(small: SmallSystem) -> Host:
    made = Host(small.cloud)
    job = made.train("first-job")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    image = {"Image": OURS, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    made.sagemaker.create_model(ModelName="first", ExecutionRoleArn=ROLE, PrimaryContainer=image)
    made.config("nine-to-one", {"stable": 9.0, "canary": 1.0})
    made.sagemaker.create_endpoint(EndpointName="scorer", EndpointConfigName="nine-to-one")
    made.in_service("scorer")
    return made


@pytest.fixture(autouse=True)
def _no_host_faults(host: Host):
    yield
    host.cloud.sagemaker.clear()


def _error(call) -> dict:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response


def test_a_training_job_leaves_a_forest_fitted_to_its_channel(host: Host):
    artifact = host.s3.get_object(Bucket="training", Key="artifacts/first-job/output/model.tar.gz")["Body"].read()
    forest = read_model_tar(artifact)
    assert (forest.feature_dim, forest.num_trees) == (DIM, 50)
    np.testing.assert_allclose(forest.score(np.array([[0, 0, 0], [9, 9, 9]])), host.invoke()[0], rtol=1e-6)


def test_an_outlier_scores_higher_than_the_middle(host: Host):
    middle, outlier = host.invoke()[0]
    assert outlier > 1.5 * middle


def test_a_job_that_cannot_fit_fails_with_its_reason(host: Host):
    job = host.train("wrong-width", feature_dim="7")
    assert job["TrainingJobStatus"] == "Failed"
    assert "7 columns" in job["FailureReason"]


def test_the_built_in_algorithm_fails_a_job_for_what_it_does_not_document(host: Host):
    job = host.train("too-few-trees", BUILT_IN, num_trees="49")
    assert job["FailureReason"] == "ClientError: hyperparameter num_trees must be in [50, 1000], got 49"
    job = host.train("wrong-width-built-in", BUILT_IN, feature_dim="7")
    assert "expected 7 columns, got 3" in job["FailureReason"]


def test_an_endpoint_with_another_containers_artifact_fails(host: Host):
    job = host.sagemaker.describe_training_job(TrainingJobName="first-job")
    image = {"Image": BUILT_IN, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    host.sagemaker.create_model(ModelName="foreign", ExecutionRoleArn=ROLE, PrimaryContainer=image)
    host.config("foreign", {"only": 1.0}, model="foreign")
    host.sagemaker.create_endpoint(EndpointName="foreign", EndpointConfigName="foreign")
    wait_for(lambda: host.status("foreign") == "Failed")
    reason = host.sagemaker.describe_endpoint(EndpointName="foreign")["FailureReason"]
    assert "not an artifact of the built-in algorithm" in reason


def test_traffic_follows_the_weights_and_a_target_variant_overrides_them(host: Host):
    assert Counter(host.invoke()[1] for _ in range(20)) == {"stable": 18, "canary": 2}
    assert host.invoke(TargetVariant="canary")[1] == "canary"
    host.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="scorer", DesiredWeightsAndCapacities=[{"VariantName": "canary", "DesiredWeight": 0}]
    )
    host.in_service("scorer")
    assert Counter(host.invoke()[1] for _ in range(10)) == {"stable": 10}
    host.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="scorer", DesiredWeightsAndCapacities=[{"VariantName": "canary", "DesiredWeight": 1}]
    )
    host.in_service("scorer")


def test_an_endpoint_serves_while_it_is_updating_and_refuses_a_second_update(host: Host):
    host.config("other", {"other": 1.0})
    host.cloud.sagemaker.delays(updating_s=3.0)
    host.sagemaker.create_endpoint(EndpointName="updated", EndpointConfigName="nine-to-one")
    assert host.status("updated") == "Creating"
    assert _error(lambda: host.invoke("updated"))["Error"]["Code"] == "ValidationError"
    host.in_service("updated")
    host.sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName="other")
    assert host.status("updated") == "Updating"
    assert host.invoke("updated")[1] in ("stable", "canary")
    error = _error(lambda: host.sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName="other"))
    assert (error["Error"]["Code"], "in-progress" in error["Error"]["Message"]) == ("ValidationException", True)
    host.in_service("updated")
    assert host.invoke("updated")[1] == "other"
    host.cloud.sagemaker.delays(updating_s=0.2)
    host.sagemaker.delete_endpoint(EndpointName="updated")
    wait_for(lambda: "updated" not in [e["EndpointName"] for e in host.sagemaker.list_endpoints()["Endpoints"]])


def test_an_endpoint_whose_artifact_is_gone_fails(host: Host):
    image = {"Image": OURS, "ModelDataUrl": "s3://training/nowhere/model.tar.gz"}
    host.sagemaker.create_model(ModelName="lost", ExecutionRoleArn=ROLE, PrimaryContainer=image)
    host.config("lost", {"only": 1.0}, model="lost")
    host.sagemaker.create_endpoint(EndpointName="lost", EndpointConfigName="lost")
    wait_for(lambda: host.status("lost") == "Failed")
    assert "NoSuchKey" in host.sagemaker.describe_endpoint(EndpointName="lost")["FailureReason"]


@pytest.mark.parametrize(
    ("mode", "code", "status"),
    [("down", "ServiceUnavailable", 503), ("throttled", "ThrottlingException", 400), ("failing", "ModelError", 424)],
)
def test_a_fault_is_answered_as_aws_answers_it(host: Host, mode, code, status):
    host.cloud.sagemaker.fault("scorer", mode)
    error = _error(host.invoke)
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    if code == "ModelError":
        assert error["OriginalStatusCode"] == 500


def test_one_variant_can_fail_while_the_other_serves_and_a_slow_one_answers_late(host: Host):
    host.cloud.sagemaker.fault("scorer", "failing", variant="canary")
    assert host.invoke(TargetVariant="stable")[1] == "stable"
    assert _error(lambda: host.invoke(TargetVariant="canary"))["Error"]["Code"] == "ModelError"
    host.cloud.sagemaker.clear("scorer")
    host.cloud.sagemaker.fault("scorer", "slow", delay_s=0.5, count=1)
    began = time.monotonic()
    host.invoke()
    assert time.monotonic() - began >= 0.5


def test_a_body_the_container_refuses_is_a_model_error_with_its_status(host: Host):
    error = _error(lambda: host.invoke(body=b"a,b,c"))
    assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", 400)


def test_a_body_beyond_six_megabytes_never_reaches_the_container(host: Host):
    error = _error(lambda: host.invoke(body=b"0,0,0\n" * 1_100_000))
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("413", 413)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda h: h.sagemaker.describe_endpoint(EndpointName="none"), "ValidationException"),
        (lambda h: h.config("broken", {"a": 1.0}, model="none"), "ValidationException"),
        (lambda h: h.config("nine-to-one", {"a": 1.0}), "ValidationException"),
        (lambda h: h.train("first-job"), "ResourceInUse"),
        (lambda h: h.invoke("none"), "ValidationError"),
        (lambda h: h.invoke(TargetVariant="none"), "ValidationError"),
        (lambda h: h.sagemaker.describe_notebook_instance(NotebookInstanceName="n"), "UnknownOperationException"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_awss_code(host: Host, call, code):
    assert _error(lambda: call(host))["Error"]["Code"] == code
