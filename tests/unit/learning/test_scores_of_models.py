"""Where an Evaluate step gets scores from, and which model it compares a candidate with."""

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.unit.detection_fakes import METRICS, STEP_MS, fleet, trained
from training.evaluate.champion import Champions
from training.evaluate.scorers import Scorers
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import write_model_tar

ROLE, IMAGE = "arn:aws:iam::000000000000:role/r", "randomcutforest:1"


def foreign_artifact() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("model_algo-1"))
    return content.getvalue()


class Hosting:
    """SageMaker, its runtime and S3 in one; an endpoint scores a row by its first value."""

    def __init__(self, artifact: bytes) -> None:
        self.artifact = artifact
        self.images: dict[str, str] = {}
        self.requests: list[int] = []

    def __call__(self, service: str) -> "Hosting":
        return self

    def get_object(self, **_: str) -> dict:
        return {"Body": io.BytesIO(self.artifact)}

    def create_model(self, *, ModelName: str, PrimaryContainer: dict, **_: str) -> None:  # noqa: N803 - AWS's names
        assert ModelName not in self.images
        self.images[ModelName] = PrimaryContainer["Image"]

    def create_endpoint_config(self, **_: object) -> None: ...
    def create_endpoint(self, **_: object) -> None: ...
    def delete_endpoint(self, **_: object) -> None: ...
    def delete_endpoint_config(self, **_: object) -> None: ...

    def delete_model(self, *, ModelName: str) -> None:  # noqa: N803
        del self.images[ModelName]

    def describe_endpoint(self, **_: object) -> dict:
        return {"EndpointStatus": "InService"}

    def invoke_endpoint(self, *, Body: bytes, **_: object) -> dict:  # noqa: N803
        first = [float(line.split(b",")[0]) for line in Body.splitlines()]
        self.requests.append(len(first))
        return {"Body": io.BytesIO(json.dumps({"scores": [{"score": value} for value in first]}).encode())}


def scorers(hosting: Hosting, version: str = "m1") -> Scorers:
    return Scorers(hosting, version, ROLE, "ml.m5.large", poll_s=0.0)


@pytest.mark.parametrize("count", [0, 1, 49, 1234])
def test_a_model_that_is_not_ours_is_asked_for_fifty_rows_at_a_time_and_answers_in_order(count: int):
    hosting = Hosting(foreign_artifact())
    rows = np.arange(count * 8, dtype=np.float32).reshape(count, 8)
    with scorers(hosting) as hosted:
        scores = hosted.of_url("s3://models/model.tar.gz", IMAGE)(rows)
    np.testing.assert_array_equal(scores, rows[:, 0])
    assert max(hosting.requests, default=0) <= 50
    assert hosting.images == {}, "taken down"


def test_a_row_that_is_not_finite_is_never_sent_to_a_container_that_might_score_it():
    hosting = Hosting(foreign_artifact())
    with scorers(hosting) as hosted, pytest.raises(ValueError, match="must be finite"):
        hosted.of_url("s3://models/model.tar.gz", IMAGE)(np.array([[1.0, np.nan]], dtype=np.float32))
    assert hosting.requests == []


def test_two_models_are_hosted_beside_each_other_each_in_its_own_container_however_long_their_names():
    hosting = Hosting(foreign_artifact())
    with scorers(hosting, f"a-long-stage-{'p' * 32}-abcdefghijkl") as hosted:
        hosted.of_url("s3://models/candidate.tar.gz", IMAGE)
        hosted.of_url("s3://models/champion.tar.gz", "another:1")
        assert sorted(hosting.images.values()) == ["another:1", IMAGE]
        assert all(len(name) <= 63 and "abcdefghijkl" in name for name in hosting.images)


def test_a_forest_of_ours_is_scored_in_this_process(tmp_path: Path):
    rows = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    forest = RandomCutForest.fit(rows, num_trees=50, num_samples_per_tree=4, seed=1)
    (tmp_path / "model.tar.gz").write_bytes(write_model_tar(forest))
    hosting = Hosting(b"")
    with scorers(hosting) as hosted:
        scores = hosted.of_artifact(tmp_path, "s3://models/model.tar.gz", "ours:1").score(rows)
    np.testing.assert_array_equal(scores, forest.score(rows))
    assert hosting.requests == []


PACKAGE = trained(fleet(4, 1440))
LEARNED_UNTIL = int(PACKAGE.seeds.last_at.max())


class Registered(Hosting):
    """A stage whose active model is PACKAGE."""

    def __init__(self) -> None:
        super().__init__(PACKAGE.to_bytes())

    def get_item(self, **_: object) -> dict:
        return {"Item": {"model_version": {"S": PACKAGE.model_version}, "package_key": {"S": "packages/m1.zip"}}}

    def get_paginator(self, _: str) -> "Registered":
        return self

    def paginate(self, **_: object) -> list[dict]:
        return [{"ModelPackageSummaryList": [{"ModelPackageArn": "arn"}]}]

    def describe_model_package(self, **_: object) -> dict:
        metadata = dict.fromkeys(("package_key", "fingerprint", "reason", "algorithm"), "x")
        return {
            "ModelPackageArn": "arn",
            "CreationTime": datetime(2026, 11, 30, tzinfo=UTC),
            "CustomerMetadataProperties": {**metadata, "model_version": PACKAGE.model_version},
            "InferenceSpecification": {"Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://models/m1.tar.gz"}]},
        }


def champions() -> Champions:
    return Champions(Registered(), "controls", "models", "group")


def test_the_champion_comes_with_the_container_that_its_model_was_registered_with():
    champion, note = champions().current(METRICS, LEARNED_UNTIL + 1)
    assert champion is not None, note
    assert (champion.image, champion.model_data_url) == (IMAGE, "s3://models/m1.tar.gz")
    assert champion.learned_until_ms == LEARNED_UNTIL


def test_a_champion_that_has_learned_some_of_the_held_out_part_is_not_compared_with():
    """It would be judged on what it knows, and its state cannot go back in time."""
    champion, note = champions().current(METRICS, LEARNED_UNTIL - 10 * STEP_MS)
    assert champion is None
    assert "has learned some of the held-out part" in note
