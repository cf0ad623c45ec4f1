"""Times, metric sets, alerts and score blocks: each survives its wire format."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.core.alert import Alert, AlertEvent, Clocks, MetricEvidence, Priority
from treeline.core.errors import ModelMismatchError
from treeline.core.times import from_ms, iso, parse_iso, to_ms

MS = st.integers(0, 253_402_300_799_999)


@FEW
@given(MS, MS)
def test_a_time_survives_its_text_and_text_order_is_time_order(one, other):
    assert parse_iso(iso(one)) == to_ms(from_ms(one)) == one
    assert len(iso(one)) == 24
    assert (iso(one) < iso(other)) == (one < other)


def test_times_by_hand():
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert parse_iso("2026-11-22T16:58:30.250+01:00") == to_ms(datetime(2026, 11, 22, 15, 58, 30, 250_000, UTC))
    assert to_ms(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-22T16:58:30", "2026-13-01T00:00:00Z"])
def test_a_time_without_a_zone_or_sense_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_iso(text)


def alert(**changes):
    values = {
        "incident_id": "web-1/2026-11-22T15:58:30.000Z",
        "sequence": 1,
        "event": AlertEvent.OPENED,
        "priority": Priority.P1,
        "server_id": "web-1",
        "dedup_key": "1/eu/dev/web-1",
        "severity": 3.25,
        "score": 2.5,
        "threshold": 1.5,
        "metrics": [MetricEvidence(name="cpu", unit="%", measured=None, expected=1, low=0, high=2, deviation=0.0)],
        "clocks": Clocks(
            first_anomalous_at=iso(1), observed_at=iso(2), received_at=iso(3), scored_at=iso(4), published_at=""
        ),
        "model_version": "m1",
    }
    return Alert(**{**values, **changes})


def test_an_alert_survives_its_text():
    body = json.loads(json.dumps(alert().to_json()))
    assert Alert.from_json(body) == alert()
    assert (body["event"], body["priority"], body["schema_version"]) == ("opened", "P1", 1)


def test_an_alert_of_another_schema_is_refused():
    with pytest.raises(ValueError, match="schema_version must be 1, got 2"):
        Alert.from_json({**alert().to_json(), "schema_version": 2})
    with pytest.raises(ValueError, match="exploded"):
        Alert.from_json({**alert().to_json(), "event": "exploded"})


def test_attributes_carry_the_labels_that_filters_use_and_no_others():
    attributes = alert(labels={"tier": "db", "rack": "7"}).attributes()
    assert attributes == {
        "priority": ("String", "P1"),
        "event": ("String", "opened"),
        "server_id": ("String", "web-1"),
        "severity": ("Number", "3.25"),
        "tier": ("String", "db"),
    }


WIDTH = 8


def block():
    times = np.array([30, 10, 40, 20]) * 1000
    made = ScoreBlock.empty(["a", "b", "c"], "m1", np.array([2, 0, 2, 2]), times, features=WIDTH)
    rows = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH) / 7
    made.fill(np.array([1, 3]), rows, np.array([0.1, 0.2]), np.array([1.0, 2.0]), Status.SCORED)
    made.version = 7
    return made


def test_a_block_keeps_only_the_servers_that_occur_and_says_what_is_unknown():
    made = block()
    assert made.servers == ["a", "c"]
    assert [made.servers[i] for i in made.server] == ["c", "a", "c", "c"]
    assert made.status.tolist() == [0, 1, 0, 1]
    assert np.isnan(made.score[[0, 2]]).all()
    assert np.isnan(made.features[0]).all()
    assert made.tick == "1970-01-01T00:00:10.000Z#m1#0000000007"


def test_a_block_survives_its_bytes_bit_for_bit():
    made = block()
    back = ScoreBlock.unpack(made.pack())
    assert back.pack() == made.pack()
    assert (back.servers, back.version, back.tick) == (made.servers, made.version, made.tick)
    np.testing.assert_array_equal(back.features, made.features)


def test_an_empty_block_has_a_key_and_survives():
    none = ScoreBlock.empty([], "m1", np.array([], np.intp), np.array([], np.int64))
    assert ScoreBlock.unpack(none.pack()).tick == "1970-01-01T00:00:00.000Z#m1#0000000000"


@FEW
@given(st.data())
def test_a_damaged_block_is_refused(data):
    packed = block().pack()
    with pytest.raises(ModelMismatchError):
        ScoreBlock.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(ModelMismatchError):
        ScoreBlock.unpack(packed + b"x")
    with pytest.raises(ModelMismatchError):
        ScoreBlock.unpack(packed.replace(b'"format":2', b'"format":3'))
