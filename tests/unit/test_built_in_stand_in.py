"""The stand-in for SageMaker's Random Cut Forest takes and gives what AWS documents, and nothing else."""

import copy
import json

import numpy as np
import pytest

from emulator.sagemaker import built_in
from emulator.sagemaker.built_in_contract import JobRefusedError, check_job
from emulator.sagemaker.containers import serving
from treeline.core.errors import ModelMismatchError, TreelineError, UsageError
from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import read_model_tar, write_model_tar

IMAGE, OURS = "382416733822.dkr.ecr.us-east-1.amazonaws.com/randomcutforest:1", "treeline:latest"
RECORDIO = "application/x-recordio-protobuf"
WANTED = {"feature_dim": "3", "num_trees": "50", "num_samples_per_tree": "8"}
ROWS = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
SOME = np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def artifact() -> bytes:
    return built_in.train([(RECORDIO, recordio.encode(ROWS))], WANTED)


@pytest.fixture(scope="module")
def served(artifact: bytes):
    return serving(IMAGE, "ml.m5.large", artifact)


def job(**changes) -> dict:
    """A CreateTrainingJob as the documentation has it, with fields changed by their path."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://b/train/", "S3DataDistributionType": "ShardedByS3Key"}
    whole = {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": dict(WANTED),
        "InputDataConfig": [{"ChannelName": "train", "ContentType": RECORDIO, "DataSource": {"S3DataSource": source}}],
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    }
    places = {
        "hyperparameters": whole["HyperParameters"],
        "channel": whole["InputDataConfig"][0],
        "source": source,
        "resources": whole["ResourceConfig"],
        "algorithm": whole["AlgorithmSpecification"],
    }
    for place, values in changes.items():
        places[place].update(values)
    return copy.deepcopy(whole)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channel": {"ContentType": "text/csv;label_size=0"}},
        {"algorithm": {"TrainingInputMode": "Pipe"}},
        {"hyperparameters": {"eval_metrics": '["accuracy", "precision_recall_fscore"]', "mini_batch_size": "1000"}},
        {"hyperparameters": {"feature_dim": "10000", "num_trees": "1000", "num_samples_per_tree": "2048"}},
        *({"resources": {"InstanceType": kind}} for kind in ("ml.c5.xlarge", "ml.m4.xlarge", "ml.m7i.large")),
        {"resources": {"InstanceCount": 2}},
    ],
)
def test_a_job_as_documented_is_taken(changes):
    check_job(job(**changes), files=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hyperparameters": {"seed": "1"}}, "unknown hyperparameter seed"),
        ({"hyperparameters": {"force_dense": "true"}}, "unknown hyperparameter force_dense"),
        ({"hyperparameters": {"feature_dim": "10001"}}, r"feature_dim must be in \[1, 10000\]"),
        ({"hyperparameters": {"num_trees": "49"}}, r"num_trees must be in \[50, 1000\]"),
        ({"hyperparameters": {"num_samples_per_tree": "2049"}}, r"num_samples_per_tree must be in \[1, 2048\]"),
        ({"hyperparameters": {"eval_metrics": "accuracy"}}, "eval_metrics must be a JSON list"),
        ({"hyperparameters": {"eval_metrics": '["f1"]'}}, "eval_metrics must be a JSON list"),
        ({"channel": {"ContentType": "text/csv"}}, r"text/csv;label_size=0, got text/csv$"),
        ({"channel": {"ContentType": "text/csv;label_size=1"}}, "got text/csv;label_size=1"),
        ({"channel": {"ContentType": "application/json"}}, "got application/json"),
        ({"channel": {"ContentType": ""}}, "got none"),
        ({"channel": {"ChannelName": "test"}}, "takes train alone"),
        ({"source": {"S3DataDistributionType": "FullyReplicated"}}, "got FullyReplicated"),
        ({"algorithm": {"TrainingInputMode": "FastFile"}}, "TrainingInputMode FastFile"),
        ({"resources": {"InstanceType": "ml.p3.2xlarge"}}, "ml.p3.2xlarge: this algorithm uses x86 CPUs only"),
        ({"resources": {"InstanceType": "ml.g5.xlarge"}}, "x86 CPUs only"),
        ({"resources": {"InstanceType": "ml.m7g.large"}}, "x86 CPUs only"),
        ({"resources": {"InstanceType": "ml.c6gn.large"}}, "x86 CPUs only"),
        ({"resources": {"InstanceCount": 3}}, "3 instances share 2 files"),
    ],
)
def test_what_no_page_of_aws_covers_is_refused_by_its_name(changes, said):
    with pytest.raises((JobRefusedError, UsageError), match=said):
        check_job(job(**changes), files=2)


def test_the_width_must_be_given_and_be_that_of_the_rows():
    without = job()
    del without["HyperParameters"]["feature_dim"]
    with pytest.raises(UsageError, match="feature_dim is required"):
        check_job(without, files=1)
    with pytest.raises(UsageError, match="expected 4 columns, got 3"):
        built_in.train([(RECORDIO, recordio.encode(ROWS))], {**WANTED, "feature_dim": "4"})


def test_no_reader_of_ours_finds_a_forest_in_the_artifact(artifact):
    with pytest.raises(ModelMismatchError, match=r"holds no forest\.npz"):
        read_model_tar(artifact)
    with pytest.raises(ModelMismatchError):
        serving(OURS, "ml.m5.large", artifact)


def test_the_container_reads_no_artifact_but_its_own(artifact):
    ours = write_model_tar(RandomCutForest.fit(ROWS, num_trees=50, num_samples_per_tree=8, seed=1))
    for content in (ours, b"no archive", artifact[: len(artifact) // 2]):
        with pytest.raises(ModelMismatchError):
            serving(IMAGE, "ml.m5.large", content)


def test_the_same_data_twice_make_two_models(artifact, served):
    """The algorithm has no seed, so nothing may rely on a model that comes out alike."""
    other = serving(IMAGE, "ml.m5.large", built_in.train([(RECORDIO, recordio.encode(ROWS))], WANTED))
    assert not np.allclose(scores(other, "text/csv", b"0,0,0"), scores(served, "text/csv", b"0,0,0"), rtol=1e-6)


@pytest.mark.parametrize("instance_type", ["ml.g4dn.xlarge", "ml.c7g.large", "ml.inf1.xlarge"])
def test_it_is_not_hosted_where_it_is_not_known_to_run(artifact, instance_type):
    with pytest.raises(TreelineError, match="x86 CPUs only"):
        serving(IMAGE, instance_type, artifact)


def scores(container, content_type: str, body: bytes) -> list[float]:
    status, kind, answer = container.answer(content_type, "application/json", body)
    assert (status, kind) == (200, "application/json"), answer
    return [entry["score"] for entry in json.loads(answer)["scores"]]


def test_every_documented_request_gets_the_same_scores_and_an_outlier_the_higher_one(served):
    text = b"0,0,0\n9,9,9"
    middle, outlier = found = scores(served, "text/csv", text)
    assert outlier > 1.5 * middle > 0
    features = [row.tolist() for row in SOME]
    for content_type, body in (
        ("text/csv;label_size=0", text),
        ("application/json", json.dumps({"instances": [{"features": row} for row in features]}).encode()),
        (
            "application/json",
            json.dumps({"instances": [{"data": {"features": {"values": row}}} for row in features]}).encode(),
        ),
        (RECORDIO, recordio.encode(SOME)),
    ):
        assert scores(served, content_type, body) == found


def test_answers_come_in_the_three_documented_forms(served):
    found = scores(served, "text/csv", b"0,0,0\n9,9,9")
    _, kind, lines = served.answer("text/csv", "application/jsonlines", b"0,0,0\n9,9,9")
    assert (kind, [json.loads(line)["score"] for line in lines.splitlines()]) == ("application/jsonlines", found)
    _, kind, records = served.answer("text/csv", RECORDIO, b"0,0,0\n9,9,9")
    assert (kind, records) == (RECORDIO, recordio.encode_scores(found))


@pytest.mark.parametrize(
    ("content_type", "accept", "body", "status"),
    [
        ("text/csv", "application/json", b"1,2", 400),
        ("text/csv", "application/json", b"", 400),
        ("text/csv;label_size=1", "application/json", b"0,1,2,3", 415),
        ("application/jsonlines", "application/json", b'{"features": [1, 2, 3]}', 415),
        ("application/x-npy", "application/json", b"1,2,3", 415),
        ("text/csv", "text/csv", b"1,2,3", 406),
        ("text/csv", "application/json", b"1,2,3\n" * 1_100_000, 413),
    ],
)
def test_any_other_request_is_refused(served, content_type, accept, body, status):
    assert served.answer(content_type, accept, body)[0] == status
