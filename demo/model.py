"""Train on the unlabelled past, host the model where detect asks an endpoint, point detection at it."""

import time
from typing import Any

from demo.cloud import Deployment
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from training.processes import Progress
from treeline.aws.detect.models import ModelStore
from treeline.core.errors import TreelineError
from treeline.core.model.package import ModelPackage
from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import read_model_tar
from treeline.settings import outputs

ROLE_ARN = "arn:aws:iam::000000000000:role/treeline-training"
IMAGE = "treeline-random-cut-forest:1"
NUM_TREES, NUM_SAMPLES_PER_TREE = 50, 512
INSTANCE_TYPE = "ml.m5.large"
_TIMEOUT_S, _POLL_S = 120.0, 0.1


class TrainingError(TreelineError):
    """A training job or an endpoint did not come up; the message ends with SageMaker's reason."""


def train(
    deployment: Deployment,
    grid: Grid,
    *,
    model_version: str,
    seed: int,
    progress: Progress,
    rolling_window_s: float = 0.0,
) -> tuple[ModelPackage, RandomCutForest]:
    """Train, calibrate and activate a model, of a rolling window where it is not 0; returns when detect can ask it."""
    prepared = prepare(grid, seed=seed, rolling_window_s=rolling_window_s, progress=progress)
    forest = _training_job(deployment, model_version, prepared.training_rows)
    package = calibrate_package(
        prepared,
        forest.score,
        model_version=model_version,
        samples_per_tree=forest.num_samples_per_tree,
        progress=progress,
    )
    job = deployment.client("sagemaker").describe_training_job(TrainingJobName=model_version)
    host(deployment, package, job["ModelArtifacts"]["S3ModelArtifacts"])
    return package, forest


def host(deployment: Deployment, package: ModelPackage, model_data_url: str) -> None:
    """Host a trained model, unless the scorer is embedded, and point detection at it; returns when it can be asked."""
    if deployment.endpoint_name:
        _host(deployment, package.model_version, model_data_url)
    store = ModelStore(
        deployment.client("dynamodb"),
        deployment.client("s3"),
        controls_table=deployment.output(outputs.CONTROLS_TABLE),
        bucket=deployment.output(outputs.MODELS_BUCKET),
    )
    store.activate(package, model_data_url)


def _host(deployment: Deployment, model_version: str, model_data_url: str) -> None:
    sagemaker, endpoint = deployment.client("sagemaker"), deployment.endpoint_name
    sagemaker.create_model(
        ModelName=model_version,
        ExecutionRoleArn=ROLE_ARN,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": model_data_url},
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=model_version,
        ProductionVariants=[
            {
                "VariantName": "blue",
                "ModelName": model_version,
                "InitialInstanceCount": 1,
                "InstanceType": INSTANCE_TYPE,
                "InitialVariantWeight": 1.0,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=model_version)
    _wait(lambda: sagemaker.describe_endpoint(EndpointName=endpoint), "EndpointStatus", "InService")


def _training_job(deployment: Deployment, model_version: str, rows: Any) -> RandomCutForest:
    bucket = deployment.output(outputs.MODELS_BUCKET)
    s3, sagemaker = deployment.client("s3"), deployment.client("sagemaker")
    prefix = f"training/{model_version}"
    s3.put_object(Bucket=bucket, Key=f"{prefix}/input/rows.pbr", Body=recordio.encode(rows))
    sagemaker.create_training_job(
        TrainingJobName=model_version,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=ROLE_ARN,
        HyperParameters={
            "feature_dim": str(rows.shape[1]),
            "num_trees": str(NUM_TREES),
            "num_samples_per_tree": str(NUM_SAMPLES_PER_TREE),
        },
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": "application/x-recordio-protobuf",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://{bucket}/{prefix}/input/",
                        "S3DataDistributionType": "ShardedByS3Key",
                    }
                },
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/forests"},  # where the deployed pipeline leaves them
        ResourceConfig={"InstanceType": INSTANCE_TYPE, "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )
    job = _wait(
        lambda: sagemaker.describe_training_job(TrainingJobName=model_version), "TrainingJobStatus", "Completed"
    )
    artifacts = job["ModelArtifacts"]["S3ModelArtifacts"]
    key = artifacts.removeprefix(f"s3://{bucket}/")
    return read_model_tar(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _wait(describe: Any, field: str, wanted: str) -> dict[str, Any]:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        answer: dict[str, Any] = describe()
        if answer[field] == wanted:
            return answer
        if answer[field] in ("Failed", "Stopped") or time.monotonic() > deadline:
            raise TrainingError(f"{field} is {answer[field]}, not {wanted}: {answer.get('FailureReason', 'timed out')}")
        time.sleep(_POLL_S)
