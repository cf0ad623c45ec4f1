import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeline.core.observation import Observation
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.rejection import Rejection, RejectionReason
from treeline.core.times import iso, parse_iso
from treeline.sources.fields import MAX_RECORD_BYTES, MAX_SERVER_ID_BYTES
from treeline.sources.treeline_json import ObservationDecoder

RECEIVED = parse_iso("2026-11-22T15:58:31Z")
GOOD = {
    "server_id": "web-042",
    "observed_at": "2026-11-22T15:58:30Z",
    "metrics": {"cpu_percent": 41.5, "memory_percent": None, "load": 3},
    "labels": {"tier": "web"},
}


def judged(data: bytes, **limits: int | None) -> tuple[list[Observation], list[Rejection]]:
    ages = {"max_future_ms": 300_000, "max_age_ms": 172_800_000, **limits}
    verdicts = [verdict for _, verdict in ObservationDecoder(DEFAULT_METRICS, **ages).judge(data, RECEIVED)]
    return [v for v in verdicts if isinstance(v, Observation)], [v for v in verdicts if isinstance(v, Rejection)]


def record(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({k: v for k, v in GOOD.items() if k != name}).encode()


def at(time: str) -> bytes:
    return record(observed_at=time)


def with_cpu(value: object) -> bytes:
    return record(metrics={"cpu_percent": value})


def test_a_good_record_becomes_an_observation_of_known_present_metrics():
    """Null is missing and an unknown metric is nobody's error."""
    [observation], rejections = judged(record())

    assert rejections == []
    assert observation == Observation(
        server_id="web-042",
        observed_at_ms=parse_iso("2026-11-22T15:58:30Z"),
        metrics={"cpu_percent": 41.5},
        labels={"tier": "web"},
    )


BAD = [
    (b"\xff\xfe", RejectionReason.NOT_UTF8),
    (b"nonsense", RejectionReason.NOT_JSON),
    (b"", RejectionReason.NOT_JSON),
    (b"\n \r\n", RejectionReason.NOT_JSON),
    (b'{"server_id": "a"', RejectionReason.NOT_JSON),
    (b"[" * 100_000, RejectionReason.NOT_JSON),
    (b'{"server_id": ' + b"9" * 5000 + b"}", RejectionReason.NOT_JSON),
    (b"\xef\xbb\xbf" + record(), RejectionReason.NOT_JSON),
    (b" " * MAX_RECORD_BYTES + record(), RejectionReason.RECORD_TOO_LARGE),
    (b"[]", RejectionReason.WRONG_SHAPE),
    (b"null", RejectionReason.WRONG_SHAPE),
    (record(metrics=[1.0]), RejectionReason.WRONG_SHAPE),
    (record(schema_version=2), RejectionReason.UNSUPPORTED_SCHEMA_VERSION),
    (record(schema_version=True), RejectionReason.UNSUPPORTED_SCHEMA_VERSION),
    (record(schema_version="1"), RejectionReason.UNSUPPORTED_SCHEMA_VERSION),
    (b'{"server_id": "a", "server_id": "b"}', RejectionReason.CONFLICTING_KEYS),
    (b'{"metrics": {"cpu_percent": 1, "cpu_percent": 2}}', RejectionReason.CONFLICTING_KEYS),
    (without("server_id"), RejectionReason.MISSING_SERVER_ID),
    (record(server_id=None), RejectionReason.MISSING_SERVER_ID),
    (record(server_id=42), RejectionReason.INVALID_SERVER_ID),
    (record(server_id="web\ud800"), RejectionReason.INVALID_SERVER_ID),
    (record(server_id=""), RejectionReason.EMPTY_SERVER_ID),
    (record(server_id="  "), RejectionReason.EMPTY_SERVER_ID),
    (record(server_id="a" * (MAX_SERVER_ID_BYTES + 1)), RejectionReason.OVERSIZED_SERVER_ID),
    (record(server_id="é" * (MAX_SERVER_ID_BYTES // 2 + 1)), RejectionReason.OVERSIZED_SERVER_ID),
    (record(server_id="#counter"), RejectionReason.RESERVED_SERVER_ID),
    (record(server_id="fleet"), RejectionReason.RESERVED_SERVER_ID),
    (without("observed_at"), RejectionReason.MISSING_TIME),
    (at("yesterday"), RejectionReason.UNPARSABLE_TIME),
    (record(observed_at=1795363110), RejectionReason.UNPARSABLE_TIME),
    (at("2026-13-01T00:00:00Z"), RejectionReason.UNPARSABLE_TIME),
    (at("2026-11-22T15:58:30"), RejectionReason.NAIVE_TIME),
    (at("2026-11-22"), RejectionReason.NAIVE_TIME),
    (at("2026-11-22T16:03:31.001Z"), RejectionReason.TIME_IN_FUTURE),
    (at("2026-11-20T15:58:30.999Z"), RejectionReason.TIME_TOO_OLD),
    (without("metrics"), RejectionReason.NO_KNOWN_METRIC),
    (record(metrics={}), RejectionReason.NO_KNOWN_METRIC),
    (record(metrics={"load": 3.0}), RejectionReason.NO_KNOWN_METRIC),
    (record(metrics={"cpu_percent": None}), RejectionReason.NO_KNOWN_METRIC),
    (with_cpu("41.5"), RejectionReason.METRIC_NOT_NUMERIC),
    (with_cpu(True), RejectionReason.METRIC_NOT_NUMERIC),
    (with_cpu([1]), RejectionReason.METRIC_NOT_NUMERIC),
    (with_cpu(math.nan), RejectionReason.METRIC_NOT_FINITE),
    (with_cpu(-math.inf), RejectionReason.METRIC_NOT_FINITE),
    (b'{"server_id":"a","observed_at":"2026-11-22T15:58:30Z","metrics":{"disk_iops":1e999}}',
     RejectionReason.METRIC_NOT_FINITE),
    (with_cpu(105.1), RejectionReason.METRIC_OUT_OF_RANGE),
    (with_cpu(-6), RejectionReason.METRIC_OUT_OF_RANGE),
    (record(metrics={"cpu_percent": 250, "memory_percent": "full"}), RejectionReason.METRIC_OUT_OF_RANGE),
    (record(metrics={"network_mbps": -1e-9}), RejectionReason.METRIC_OUT_OF_RANGE),
    (with_cpu(10**400), RejectionReason.METRIC_OUT_OF_RANGE),
    (record(metrics={"disk_iops": 1e126}), RejectionReason.METRIC_OUT_OF_RANGE),
    (record(labels=["web"]), RejectionReason.INVALID_LABELS),
    (record(labels="web"), RejectionReason.INVALID_LABELS),
    (record(labels=0), RejectionReason.INVALID_LABELS),
    (record(labels={"tier": 1}), RejectionReason.INVALID_LABELS),
    (record(labels={"": "web"}), RejectionReason.INVALID_LABELS),
    (record(labels={"tier": "\udfff"}), RejectionReason.INVALID_LABELS),
    (record(labels={"tier": "w" * 257}), RejectionReason.INVALID_LABELS),
    (record(labels={str(i): "" for i in range(51)}), RejectionReason.INVALID_LABELS),
]  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), BAD, ids=[f"{i}-{r.value}" for i, (_, r) in enumerate(BAD)])
def test_each_breach_of_the_contract_has_its_own_reason_and_keeps_the_bytes(data, reason):
    observations, [rejection] = judged(data)

    assert observations == []
    assert rejection.reason is reason
    assert rejection.raw == data
    assert len(rejection.detail) < 500


def test_every_reason_a_single_record_can_have_is_tested_above():
    of_ingest = {RejectionReason.CONFLICTING_DUPLICATE, RejectionReason.REFUSED_BY_STORE}

    assert {reason for _, reason in BAD} == set(RejectionReason) - of_ingest


def test_the_detail_names_the_field_its_value_and_what_was_expected():
    _, [rejection] = judged(with_cpu(250.0))

    assert rejection.detail == "metrics.cpu_percent: expected a number in [0, 100], got 250.0"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [(100, 100.0), (100.4375, 100.0), (105, 100.0), (105.0, 100.0), (-0.1, 0.0), (-5, 0.0), (0.0, 0.0), (99.9, 99.9)],
)
def test_a_value_just_outside_its_range_is_the_nearest_that_can_be(sent, stored):
    """An agent that measures 100.4 % CPU rounds its clock, and the server is busiest just then."""
    [observation], rejections = judged(with_cpu(sent))

    assert (observation.metrics, rejections) == ({"cpu_percent": stored}, [])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (250.0, RejectionReason.METRIC_OUT_OF_RANGE),
        (math.nan, RejectionReason.METRIC_NOT_FINITE),
        ("41.5", RejectionReason.METRIC_NOT_NUMERIC),
    ],
)
def test_a_good_value_beside_a_bad_one_is_kept(bad, reason):
    data = record(metrics={"cpu_percent": bad, "memory_percent": 93, "disk_iops": 5.0})

    [observation], [rejection] = judged(data)

    assert observation.metrics == {"memory_percent": 93.0, "disk_iops": 5.0}
    assert (rejection.metric, rejection.reason, rejection.raw) == ("cpu_percent", reason, data)
    assert rejection.detail.startswith("metrics.cpu_percent: expected ")


def test_each_bad_value_has_its_own_reason():
    data = record(metrics={"cpu_percent": 250, "memory_percent": None, "network_mbps": 1.0, "disk_iops": True})

    [observation], rejections = judged(data)

    assert observation.metrics == {"network_mbps": 1.0}
    assert [(r.metric, r.reason.value) for r in rejections] == [
        ("cpu_percent", "metric_out_of_range"),
        ("disk_iops", "metric_not_numeric"),
    ]


def test_a_record_without_a_good_value_is_refused_as_a_whole():
    """What nothing is stored of is a bad record, not a bad value."""
    observations, [rejection] = judged(record(metrics={"cpu_percent": 250, "memory_percent": math.nan}))

    assert (observations, rejection.metric) == ([], None)


@pytest.mark.parametrize(
    "data",
    [
        record(server_id="a" * MAX_SERVER_ID_BYTES),
        at("2026-11-22T16:03:31Z"),
        at("2026-11-20T15:58:31Z"),
        at("2026-11-22T16:58:30+01:00"),
        record(schema_version=1),
        record(labels=None),
        record(labels={}),
        record(agent="1.2"),
        with_cpu(0),
        with_cpu(100),
        b'{"server_id":"a","server_id":"a","observed_at":"2026-11-22T15:58:30Z","metrics":{"cpu_percent":1}}',
        json.dumps(GOOD, indent=2).encode(),
        record() + b"\r\n",
        record()[:-1] + b" " * (MAX_RECORD_BYTES - len(record())) + b"}",
    ],
)
def test_what_lies_just_inside_the_contract_is_taken(data):
    observations, rejections = judged(data)

    assert (len(observations), rejections) == (1, [])


def test_each_line_is_judged_by_itself():
    """A bad line costs itself only."""
    lines = [record(), b"\xff", b"", with_cpu(250), record(server_id="web-043")]

    observations, rejections = judged(b"\n".join(lines))

    assert [o.server_id for o in observations] == ["web-042", "web-043"]
    assert [(r.reason, r.raw) for r in rejections] == [
        (RejectionReason.NOT_UTF8, b"\xff"),
        (RejectionReason.METRIC_OUT_OF_RANGE, with_cpu(250)),
    ]


def test_an_object_printed_over_several_lines_that_breaks_the_contract_is_one_rejection():
    data = json.dumps({**GOOD, "server_id": ""}, indent=2).encode()

    _, [rejection] = judged(data)

    assert (rejection.reason, rejection.raw) == (RejectionReason.EMPTY_SERVER_ID, data)


def test_without_age_limits_a_replay_of_any_day_is_taken():
    old, future = at("1970-01-01T00:00:00Z"), at("9999-12-31T23:59:59Z")

    observations, _ = judged(old + b"\n" + future, max_future_ms=None, max_age_ms=None)

    assert [iso(o.observed_at_ms)[:4] for o in observations] == ["1970", "9999"]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0999-01-01T00:00Z"])
def test_a_time_without_a_fixed_width_text_form_is_refused_even_without_age_limits(time):
    """Its key would not sort among the others."""
    _, [rejection] = judged(at(time), max_future_ms=None, max_age_ms=None)

    assert rejection.reason is RejectionReason.UNPARSABLE_TIME


def test_a_number_too_small_for_the_table_is_zero_from_the_start():
    """What is scored has to be what is stored."""
    [observation], _ = judged(record(metrics={"cpu_percent": 1e-131, "disk_iops": -0.0}))

    assert [math.copysign(1, v) * (v + 1) for v in observation.metrics.values()] == [1.0, 1.0]


@given(st.binary(max_size=300) | st.binary(max_size=80).map(lambda b: record() + b"\n" + b))
def test_any_bytes_get_a_verdict(data):
    observations, rejections = judged(data)

    assert len(observations) + len(rejections) >= 1


# A small alphabet with the awkward kinds: half a surrogate pair, a wide character, a control character.
texts = st.text(alphabet="a1#é\ud800\U0001f5a5\x00 ", max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "server_id": json_values,
            "observed_at": json_values | st.just("2026-11-22T15:58:30Z"),
            "metrics": json_values | st.dictionaries(st.just("cpu_percent"), json_values),
            "labels": json_values,
            "schema_version": json_values,
        },
    )
)
def test_any_values_get_one_verdict_and_what_passes_can_be_stored(values):
    observations, rejections = judged(json.dumps({**GOOD, **values}).encode())

    assert len(observations) + sum(rejection.metric is None for rejection in rejections) == 1
    for observation in observations:
        json.dumps([observation.server_id, observation.labels], ensure_ascii=False).encode("utf-8")
        assert all(math.isfinite(v) for v in observation.metrics.values())


@given(st.floats(min_value=-9.9e125, max_value=9.9e125))
def test_a_float_is_kept_exactly(value):
    decoder = ObservationDecoder([Metric(name="load")], max_future_ms=None, max_age_ms=None)
    data = record(metrics={"load": value})

    [(_, observation)] = decoder.judge(data, RECEIVED)

    assert isinstance(observation, Observation)
    assert observation.metrics["load"] == (value if abs(value) >= 1e-130 else 0.0)
