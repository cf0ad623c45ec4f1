"""A model's forest in detect itself: the container's scores, read once, and a promotion that needs no endpoint."""

import io
from dataclasses import replace

import numpy as np
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from demo.learn.bias import shrunk
from tests.unit.promotion_fakes import HOUR, Walker, World, package
from tests.unit.test_promotion import ARN, steps
from treeline.app.detect.handover import Pointer
from treeline.app.promote.progress import PromotionStage
from treeline.aws.detect.embedded import EmbeddedScorer
from treeline.aws.promote.embedded import EmbeddedHosting
from treeline.core.errors import ScorerContractError, ScorerUnavailableError
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import read_model_tar, write_model_tar
from treeline.wiring.forests import embedded_forests

WIDTH = 7
ROWS = np.random.default_rng(1).normal(size=(500, WIDTH)).astype(np.float32)
FOREST = RandomCutForest.fit(ROWS, num_trees=50, num_samples_per_tree=10, seed=1)


class Bucket:
    """S3 with objects by their whole address; an error stands for one that cannot be read now."""

    def __init__(self, **objects: bytes | Exception) -> None:
        self.objects = {f"s3://models/{name}": body for name, body in objects.items()}
        self.read: list[str] = []

    def get_object(self, Bucket: str, Key: str):  # noqa: N803 -- as boto3 spells it
        url = f"s3://{Bucket}/{Key}"
        self.read.append(Key)
        body = self.objects.get(url, ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject"))
        if isinstance(body, Exception):
            raise body
        return {"Body": io.BytesIO(body)}


def scorer(bucket: Bucket, url: str = "s3://models/a") -> EmbeddedScorer:
    return EmbeddedScorer(embedded_forests(bucket), lambda: url)


def test_scores_are_the_container_s():
    """Its kernel is numba's where it is installed; here numpy's walks, as in a function's zip."""
    bucket = Bucket(a=write_model_tar(FOREST))

    np.testing.assert_allclose(scorer(bucket).score(ROWS[:50]), FOREST.score(ROWS[:50]), rtol=1e-6)


def test_a_forest_is_read_once_and_two_are_kept():
    data = write_model_tar(FOREST)
    bucket = Bucket(champion=data, candidate=data, next=data)
    forests = embedded_forests(bucket)

    for name in ("champion", "candidate", "champion", "candidate", "champion", "next", "champion", "candidate"):
        forests.of(f"s3://models/{name}")
    assert bucket.read == ["champion", "candidate", "next", "candidate"], "the one not asked for longest made room"


@pytest.mark.parametrize(
    ("held", "error", "why"),
    [
        ({}, ScorerUnavailableError, "s3://models/a: .*NoSuchKey"),
        ({"a": EndpointConnectionError(endpoint_url="s3")}, ScorerUnavailableError, "s3://models/a"),
        ({"a": b"no archive"}, ScorerContractError, "s3://models/a: not a model.tar.gz"),
    ],
)
def test_a_forest_that_cannot_be_read_is_named(held, error, why):
    with pytest.raises(error, match=why):
        scorer(Bucket(**held)).score(ROWS[:1])


def test_a_forest_that_could_not_be_read_is_asked_for_again():
    bucket = Bucket()
    asked = scorer(bucket)
    with pytest.raises(ScorerUnavailableError):
        asked.score(ROWS[:1])
    bucket.objects["s3://models/a"] = write_model_tar(FOREST)
    assert len(asked.score(ROWS[:1])) == 1


def test_a_model_without_an_address_says_what_to_do():
    with pytest.raises(ScorerContractError, match="promote it anew"):
        scorer(Bucket(), url="").score(ROWS[:1])


def test_rows_of_another_width_are_a_wrong_model():
    with pytest.raises(ScorerContractError, match=f"expected {WIDTH} columns, got 3"):
        scorer(Bucket(a=write_model_tar(FOREST))).score(ROWS[:1, :3])


@pytest.fixture
def embedded() -> World:
    """m1 decides without an endpoint; m2 is registered."""
    pointer = Pointer(model_version="m1", package_key="m1", target_variant="m1", model_data_url="s3://models/m1")
    world = World(pointer=pointer, packages={"m1": package("m1"), "m2": package("m2", mean=2.0)}, at=30 * HOUR)
    registered = world.candidate
    world.candidate = lambda arn: replace(registered(arn), model_data_url=f"s3://models/{arn.rpartition('/')[2]}")
    return world


def hosting(data: bytes | None = None) -> EmbeddedHosting:
    data = write_model_tar(FOREST) if data is None else data
    return EmbeddedHosting(embedded_forests(Bucket(m1=data, m2=data)))


def test_a_good_model_takes_over_without_an_endpoint(embedded):
    """The same day of slices on a tenth of the servers; the canary and the pointer say where the forest is."""
    Walker(embedded, hosting=hosting(), package_arn=ARN).walk(stop_at="HoldSlice")
    assert embedded.canary.model_data_url == "s3://models/m2"
    assert Walker(embedded, hosting=hosting(), package_arn=ARN).walk() == "Promoted"
    assert (embedded.pointer.model_version, embedded.pointer.model_data_url) == ("m2", "s3://models/m2")
    assert len(embedded.progress.verdicts) == 24
    assert (embedded.endpoint, embedded.updates, embedded.canary) == (None, 0, None)
    assert steps(embedded) == ["started", "canary", "cut_over", "done"]


def test_a_bad_model_is_rolled_back_without_an_endpoint(embedded):
    Walker(embedded, hosting=hosting(), package_arn=ARN).walk(stop_at="HoldSlice")
    embedded.bias = 0.2
    assert Walker(embedded, hosting=hosting(), package_arn=ARN).walk() == "RolledBack"
    assert embedded.progress.stage is PromotionStage.ROLLED_BACK
    assert "score_shift" in embedded.progress.reason
    assert (embedded.pointer.model_version, embedded.canary) == ("m1", None)


def test_a_forest_that_is_not_ours_is_refused_before_its_canary(embedded):
    """Such as the artifact of SageMaker's built-in algorithm."""
    assert Walker(embedded, hosting=hosting(b"model_algo-1"), package_arn=ARN).walk() == "RolledBack"
    assert "s3://models/m2: not a model.tar.gz" in embedded.progress.reason
    assert "canary" not in steps(embedded)


def test_the_active_model_is_told_where_its_forest_is_when_the_scorer_is_embedded_later(embedded):
    """Its pointer is of a time when only the endpoint knew."""
    embedded.pointer = replace(embedded.pointer, model_data_url="")
    active = ARN.replace("m2", "m1")
    assert Walker(embedded, hosting=hosting(), package_arn=active).walk() == "Promoted"
    assert embedded.pointer.model_data_url == "s3://models/m1"
    embedded.told.clear()
    assert Walker(embedded, "e2", hosting=hosting(), package_arn=active).walk() == "Promoted"
    assert embedded.told == [], "there is nothing to correct any more"


def test_a_forest_made_worse_on_purpose_finds_everything_stranger():
    """What `treeline demo --learn rolled-back` exchanges a candidate's forest for, where no endpoint can be biased."""
    worse = read_model_tar(shrunk(write_model_tar(FOREST))).score(ROWS)
    usual = FOREST.score(ROWS)

    assert worse.mean() > usual.mean() + usual.std()
