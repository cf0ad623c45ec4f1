"""The record of overrides in the controls table, against moto."""

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from tests.contract.test_incident_tables import create
from tests.unit.override_fakes import ENTRY
from treeline.app.detect.handover import Pointer
from treeline.aws.detect.models import ModelStore
from treeline.aws.detect.overrides import OverrideTable
from treeline.core.errors import StateConflictError

FIRST = replace(
    ENTRY,
    calibration={"day": {"p2": 0.1 + 0.2, "p1": 7.0}, "names": ["a"]},
    policy={"needed": 3, "of_last": 5, "quiet_s": 900.5},
    forest={"num_trees": 200},
    created_ms=1_700_006_400_000,
)
SECOND = replace(ENTRY, id="o2", created_ms=FIRST.created_ms + 1000, undo_to="o1")


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        create(client, "controls", [("kind", "S"), ("id", "S")])
        yield client


@pytest.fixture
def table(dynamodb):
    return OverrideTable(dynamodb, "controls")


def test_the_newest_entry_counts_and_the_older_ones_are_kept_as_they_were(table):
    assert (table.current(), table.history(), table.entry("o1")) == (None, [], None)
    table.put(FIRST, after="")
    table.put(SECOND, after="o1")
    assert table.current() == SECOND
    assert table.history() == [FIRST, SECOND]
    assert table.entry("o1") == FIRST


def test_of_two_operators_the_slower_one_is_refused_and_leaves_nothing(table):
    """What it would change from is not what counts any more: the difference it was shown is not true."""
    table.put(FIRST, after="")
    for after in ("", "o0"):
        with pytest.raises(StateConflictError, match="look, and ask again"):
            table.put(SECOND, after=after)
    assert table.history() == [FIRST]
    assert table.current() == FIRST


def test_detect_gets_it_with_the_pointers_and_makes_no_request_more(table, dynamodb):
    models = ModelStore(dynamodb, boto3.client("s3"), controls_table="controls", bucket="b")
    models.point_at(Pointer(model_version="m1", package_key="k"))
    assert models.override is None
    table.put(FIRST, after="")
    asked: list[str] = []
    dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name))
    pointer = models.read()
    assert (pointer.model_version, models.override) == ("m1", FIRST)
    assert asked == ["Query"]
