"""Which model decides, as the controls table holds it: moved by a change, corrected in place for the same model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cli.doctor.after import forest
from cli.doctor.checks import ok
from treeline.app.detect.handover import Pointer
from treeline.app.promote.canary import Canary
from treeline.aws.detect.models import ModelStore

FIRST = Pointer(model_version="m1", package_key="packages/m1.zip", model_data_url="s3://models/forests/m1/model.tar.gz")
SECOND = Pointer(
    model_version="m2",
    package_key="packages/m2.zip",
    target_variant="m2",
    package_arn="arn:m2",
    model_name="m2-1",
    model_data_url="s3://models/forests/m2/model.tar.gz",
)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelStore]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        dynamodb: Any = boto3.client("dynamodb")
        dynamodb.create_table(
            TableName="controls",
            KeySchema=[{"AttributeName": "kind", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("kind", "id")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield ModelStore(dynamodb, boto3.client("s3"), controls_table="controls", bucket="models")


def test_each_change_of_the_model_is_numbered_and_names_the_one_before(store: ModelStore):
    assert store.point_at(FIRST) == FIRST
    second = replace(SECOND, activation=2, previous_version="m1", previous_package_key=FIRST.package_key)
    assert store.point_at(SECOND) == second
    assert store.read() == second


def test_pointing_at_the_same_model_again_corrects_where_it_is_and_counts_no_change(store: ModelStore):
    """Groups that are still to be handed over go by the number, and by the model before."""
    store.point_at(FIRST)
    store.point_at(replace(SECOND, model_data_url=""))
    corrected = store.point_at(SECOND)
    before = {"previous_version": "m1", "previous_package_key": FIRST.package_key}
    assert corrected == store.read() == replace(SECOND, activation=2, **before)


def test_doctor_says_what_keeps_detect_from_its_forest(store: ModelStore):
    def found() -> str:
        return forest(boto3.client, "controls").found

    assert found() == "none yet"
    store.point_at(replace(FIRST, model_data_url=""))
    assert found() == "the active model does not say where its forest is"
    store.point_at(FIRST)
    boto3.client("s3").create_bucket(Bucket="models")
    assert found() == f"nothing at {FIRST.model_data_url}"
    boto3.client("s3").put_object(Bucket="models", Key="forests/m1/model.tar.gz", Body=b"")
    assert forest(boto3.client, "controls") == ok(FIRST.model_data_url)


def test_a_canary_comes_back_as_it_was_started(store: ModelStore):
    store.point_at(FIRST)
    canary = Canary(
        model_version="m2", package_key="k", target_variant="v", model_data_url="s3://models/forests/m2", reach=0.1
    )
    started = store.start_canary(canary)
    assert started == replace(canary, number=1)
    store.read()
    assert store.canary == started
