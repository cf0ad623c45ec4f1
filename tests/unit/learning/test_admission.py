"""The gate before the registry: missing artifacts and mismatches fail the run, bad candidates are refused."""

import json
from dataclasses import replace

import pytest

from tests.unit.detection_fakes import METRICS, fleet, trained
from treeline.app.learn.admission import TrainedModel, admit
from treeline.core.errors import ModelMismatchError

VERSION = "prod-default-abc"
CANDIDATE = TrainedModel(
    model_version=VERSION,
    package_key="packages/p/package.zip",
    evaluation_key="packages/p/evaluation.json",
    model_data_url="s3://models/forests/job/output/model.tar.gz",
)


class Bucket:
    """A models bucket of bytes by key."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def exists(self, url: str) -> bool:
        return url.removeprefix("s3://models/") in self.objects


@pytest.fixture(scope="module")
def package():
    return trained(fleet(3, 300), VERSION)


@pytest.fixture
def bucket(package):
    verdict = {"passed": True, "reasons": ["quiet"], "fingerprint": package.fingerprint, "model_version": VERSION}
    return Bucket(
        **{
            CANDIDATE.package_key: package.to_bytes(),
            CANDIDATE.evaluation_key: json.dumps(verdict).encode(),
            "forests/job/output/model.tar.gz": b"forest",
        }
    )


def change_verdict(bucket, **values):
    body = json.loads(bucket.objects[CANDIDATE.evaluation_key])
    bucket.objects[CANDIDATE.evaluation_key] = json.dumps(body | values).encode()


def test_a_complete_candidate_that_passed_is_admitted(bucket, package):
    assert admit(CANDIDATE, bucket, METRICS).to_step_output() == {
        "admitted": 1,
        "reasons": "quiet",
        "fingerprint": package.fingerprint,
    }


def test_one_that_did_not_pass_is_refused_with_its_reasons(bucket):
    change_verdict(bucket, passed=False, reasons=["it pages 9 times", "it finds 10 %"])
    admission = admit(CANDIDATE, bucket, METRICS)
    assert not admission.admitted
    assert admission.reasons == "it pages 9 times; it finds 10 %"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("forests/job/output/model.tar.gz", "no model at s3://models/forests/job/output/model.tar.gz"),
        (CANDIDATE.package_key, f"no model package at {CANDIDATE.package_key}"),
        (CANDIDATE.evaluation_key, f"no evaluation at {CANDIDATE.evaluation_key}"),
    ],
)
def test_a_missing_artifact_fails_the_run_and_is_named(bucket, key, said):
    del bucket.objects[key]
    with pytest.raises(ModelMismatchError, match=said):
        admit(CANDIDATE, bucket, METRICS)


def test_a_package_of_another_metric_set_fails_the_run(bucket):
    with pytest.raises(ModelMismatchError, match="this deployment watches"):
        admit(CANDIDATE, bucket, (*METRICS[:-1], "swap_percent"))


def test_a_package_that_this_code_cannot_read_fails_the_run(bucket):
    bucket.objects[CANDIDATE.package_key] = b"a zip of next year"
    with pytest.raises(ModelMismatchError, match="not a model package"):
        admit(CANDIDATE, bucket, METRICS)


def test_artifacts_of_two_runs_do_not_pass_as_one(bucket, package):
    bucket.objects[CANDIDATE.package_key] = replace(package, model_version="another").to_bytes()
    with pytest.raises(ModelMismatchError, match="has model_version another, expected prod-default-abc"):
        admit(CANDIDATE, bucket, METRICS)


def test_a_forest_of_other_rows_than_the_package_fails_the_run(bucket):
    change_verdict(bucket, fingerprint="0" * 16)
    with pytest.raises(ModelMismatchError, match="has fingerprint"):
        admit(CANDIDATE, bucket, METRICS)


@pytest.mark.parametrize("body", [b"not json", b'{"passed": true}'])
def test_an_evaluation_that_is_not_one_fails_the_run(bucket, body):
    bucket.objects[CANDIDATE.evaluation_key] = body
    with pytest.raises(ModelMismatchError, match="the evaluation"):
        admit(CANDIDATE, bucket, METRICS)
