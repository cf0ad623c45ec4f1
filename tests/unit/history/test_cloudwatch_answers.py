import math
import struct

import numpy as np
import pytest
from botocore.parsers import RpcV2CBORParser
from botocore.session import get_session
from hypothesis import given, settings
from hypothesis import strategies as st

from training.history.cloudwatch.aws import _page, _read_fast
from training.history.cloudwatch.fetch import TransientError


def head(major, number):
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 256**width:
            return bytes([major << 5 | info]) + number.to_bytes(width, "big")
    raise ValueError(number)


def text(value):
    return head(3, len(value.encode())) + value.encode()


def array(items):
    return head(4, len(items)) + b"".join(items)


def indefinite(items):
    return b"\x9f" + b"".join(items) + b"\xff"


def table(body):
    return head(5, len(body)) + b"".join(text(key) + value for key, value in body.items())


def double(value):
    return b"\xfb" + struct.pack(">d", value)


def single(value):
    return b"\xfa" + struct.pack(">f", value)


def whole(value):
    return head(0, int(value)) if value >= 0 else head(1, -1 - int(value))


def moment(item):
    return b"\xc1" + item


def answer(times, values, make=array):
    result = {"Id": text("q0"), "Label": text("CPU é"), "StatusCode": text("Complete")}
    return table(
        {
            "MetricDataResults": array([table({**result, "Timestamps": make(times), "Values": make(values)})]),
            "Messages": array([]),
            "NextToken": b"\xf6",
        }
    )


HEADERS = {"smithy-protocol": "rpc-v2-cbor"}


def by_botocore(body):
    shape = get_session().get_service_model("cloudwatch").operation_model("GetMetricData").output_shape
    parser = RpcV2CBORParser(timestamp_parser=lambda seconds: seconds)
    return parser.parse({"status_code": 200, "headers": HEADERS, "body": body}, shape)["MetricDataResults"][0]


def read(body):
    answer = {}
    _read_fast({"status_code": 200, "headers": HEADERS, "body": body}, answer)
    return answer


@pytest.mark.parametrize("make", [array, indefinite])
@pytest.mark.parametrize(
    ("times", "values"),
    [
        ([moment(double(1.7e9 + 60 * i)) for i in range(300)], [double(i / 7) for i in range(300)]),
        ([moment(whole(1_700_000_000 + 60 * i)) for i in range(300)], [single(i / 8) for i in range(300)]),
        ([moment(whole(2**33 + i)) for i in range(3)], [whole(5), double(0.1), single(0.5)]),
        ([moment(double(1.0)), moment(whole(70))], [double(1.5), whole(-3)]),
        ([moment(double(1.0))], [b"\xf9\x3e\x00"]),
        ([], []),
    ],
)
def test_answers_read_as_botocore_reads_them(times, values, make):
    body = answer(times, values, make)
    ours, theirs = read(body), by_botocore(body)
    points = _page(ours).points[0]
    assert ours["MetricDataResults"][0]["Label"] == theirs["Label"] == "CPU é"
    np.testing.assert_array_equal(points.times_s, np.asarray(theirs["Timestamps"], dtype=np.int64))
    np.testing.assert_array_equal(points.values, theirs["Values"])


def test_an_answer_in_another_format_is_left_to_botocore():
    response, answer = {"status_code": 200, "headers": {}, "body": b"<xml/>"}, {}
    _read_fast(response, answer)
    assert (response["body"], answer) == (b"<xml/>", {})


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_read_but_never_crashes(data):
    body = bytearray(answer([moment(double(60.0 * i)) for i in range(4)], [double(math.pi)] * 4))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(body[: data.draw(st.integers(0, len(body)))]))
    except TransientError:
        return
