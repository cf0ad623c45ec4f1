"""The embedded Model Registry and processing jobs, apart from HTTP: what they keep, announce and refuse."""

import io
import threading
import time

import pytest

from emulator.sagemaker.errors import ServiceError
from emulator.sagemaker.processing import ProcessingJobs
from emulator.sagemaker.registry import STATE_CHANGE, ModelPackageGroups
from emulator.sagemaker.store import Store

SPECIFICATION = {"Containers": [{"Image": "i", "ModelDataUrl": "s3://models/m.tar.gz"}]}
COPY = "import sys, pathlib; a, b = map(pathlib.Path, sys.argv[1:]); (b / 'y').write_text((a / 'x').read_text() + '!')"


class Objects:
    """S3, as far as these two look."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def head_object(self, **asked):
        return self.objects[_path(asked)]

    def get_object(self, **asked):
        return {"Body": io.BytesIO(self.objects[_path(asked)])}

    def put_object(self, **asked):
        self.objects[_path(asked)] = asked["Body"]

    def get_paginator(self, name):
        return self

    def paginate(self, **asked):
        bucket, prefix = asked["Bucket"], asked["Prefix"]
        keys = [k.removeprefix(f"{bucket}/") for k in self.objects if k.startswith(f"{bucket}/{prefix}")]
        return [{"Contents": [{"Key": key} for key in keys]}]


def _path(asked):
    return f"{asked['Bucket']}/{asked['Key']}"


@pytest.fixture
def told():
    return []


@pytest.fixture
def registry(told):
    made = ModelPackageGroups(
        Store("ModelPackageGroup", "model-package-group", threading.RLock()),
        lambda service: Objects(**{"models/m.tar.gz": b"m"}),
        lambda kind, arn, detail: told.append((kind, arn, detail)),
    )
    made.create_group({"ModelPackageGroupName": "g"})
    return made


def package(registry, **values):
    request = {"ModelPackageGroupName": "g", "InferenceSpecification": SPECIFICATION} | values
    return registry.create(request)["ModelPackageArn"]


def test_versions_count_up_and_wait_for_approval_unless_told_otherwise(registry):
    first, second = package(registry), package(registry, ModelApprovalStatus="Approved")
    assert (first.rsplit("/", 1)[-1], second.rsplit("/", 1)[-1]) == ("1", "2")
    newest, oldest = registry.list_packages({"ModelPackageGroupName": "g"})["ModelPackageSummaryList"]
    assert (newest["ModelApprovalStatus"], oldest["ModelApprovalStatus"]) == ("Approved", "PendingManualApproval")


def test_each_approval_is_announced_with_the_metadata_that_promotion_reads(registry, told):
    arn = package(registry, CustomerMetadataProperties={"model_version": "m"})
    registry.update({"ModelPackageArn": arn, "ModelApprovalStatus": "Approved", "ApprovalDescription": "fine"})
    assert [(kind, about, detail["ModelApprovalStatus"]) for kind, about, detail in told] == [
        (STATE_CHANGE, arn, "PendingManualApproval"),
        (STATE_CHANGE, arn, "Approved"),
    ]
    assert told[-1][2]["CustomerMetadataProperties"] == {"model_version": "m"}
    assert told[-1][2]["ModelPackageGroupName"] == "g"


def test_a_repeated_registration_is_the_same_package(registry):
    assert package(registry, ClientToken="run-1") == package(registry, ClientToken="run-1")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"InferenceSpecification": {"Containers": []}}, "container is required"),
        (
            {"InferenceSpecification": {"Containers": [{"Image": "i", "ModelDataUrl": "s3://models/none"}]}},
            "Could not access model data at s3://models/none",
        ),
        ({"ModelPackageGroupName": "none"}, "Could not find model package group"),
    ],
)
def test_what_cannot_be_hosted_is_not_registered(registry, values, said):
    with pytest.raises(ServiceError, match=said):
        package(registry, **values)


def test_a_group_that_holds_models_stays(registry):
    arn = package(registry)
    with pytest.raises(ServiceError, match="still has model packages"):
        registry.delete_group({"ModelPackageGroupName": "g"})
    registry.delete({"ModelPackageName": arn})
    assert registry.delete_group({"ModelPackageGroupName": "g"}) == {}


class Jobs:
    """Processing jobs over a few objects."""

    def __init__(self, told) -> None:
        self.s3 = Objects(**{"bucket/in/x": b"hello"})
        self.jobs = ProcessingJobs(
            threading.RLock(), lambda service: self.s3, "http://127.0.0.1:1", lambda *event: told.append(event)
        )

    def run(self, code=COPY, prefix="in", local="/opt/ml/processing/input"):
        self.jobs.create(
            {
                "ProcessingJobName": "job",
                "AppSpecification": {
                    "ImageUri": "i",
                    "ContainerEntrypoint": ["python", "-c", code],
                    "ContainerArguments": ["/opt/ml/processing/input", "/opt/ml/processing/output"],
                },
                "ProcessingInputs": [
                    {"InputName": "a", "S3Input": {"S3Uri": f"s3://bucket/{prefix}", "LocalPath": local}}
                ],
                "ProcessingOutputConfig": {
                    "Outputs": [
                        {
                            "OutputName": "b",
                            "S3Output": {"S3Uri": "s3://bucket/out", "LocalPath": "/opt/ml/processing/output"},
                        }
                    ]
                },
            }
        )
        describe = self.jobs.actions()["DescribeProcessingJob"]
        deadline = time.monotonic() + 20
        while (job := describe({"ProcessingJobName": "job"}))["ProcessingJobStatus"] == "InProgress":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return job


@pytest.fixture
def jobs(told):
    return Jobs(told)


def test_a_job_reads_its_inputs_and_leaves_its_outputs(jobs):
    assert jobs.run()["ProcessingJobStatus"] == "Completed"
    assert jobs.s3.objects["bucket/out/y"] == b"hello!"


def test_a_job_that_fails_says_what_it_said_last(jobs):
    job = jobs.run(code="raise SystemExit('no history')")
    assert job["ProcessingJobStatus"] == "Failed"
    assert "no history" in job["ExitMessage"]
    assert "bucket/out/y" not in jobs.s3.objects


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prefix": "nothing"}, "No S3 objects found under S3 URL s3://bucket/nothing"),
        ({"local": "/opt/ml/processing/../../etc"}, "LocalPath must be below"),
    ],
)
def test_an_input_that_cannot_be_is_the_jobs_failure(jobs, values, said):
    assert said in jobs.run(**values)["FailureReason"]
