"""An S3 object read at any place, against moto: the same bytes as the object's, and no more requests than needed."""

import io
from collections.abc import Iterator
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from treeline.aws.object_file import WINDOW_BYTES, ObjectFile

DATA = np.random.default_rng(1).integers(0, 256, 3 * WINDOW_BYTES + 17, dtype=np.uint8).tobytes()


class CountingS3:
    """S3's client, with the requests that went through it."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.requests = 0

    def get_object(self, **request: Any) -> Any:
        self.requests += 1
        return self._s3.get_object(**request)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingS3]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="models")
        for key, body in (("large", DATA), ("small", DATA[:100]), ("empty", b"")):
            client.put_object(Bucket="models", Key=key, Body=body)
        yield CountingS3(client)


def opened(s3: CountingS3, key: str = "large") -> io.BufferedReader:
    return io.BufferedReader(ObjectFile(s3, bucket="models", key=key))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 100, 8192, WINDOW_BYTES, WINDOW_BYTES + 1, len(DATA)])
@pytest.mark.parametrize("start", [0, 1, WINDOW_BYTES - 1, 2 * WINDOW_BYTES, len(DATA) - 10, len(DATA)])
def test_any_part_is_what_the_object_has_there(s3: CountingS3, start: int, size: int):
    file = opened(s3)
    file.seek(start)
    assert file.read(size) == DATA[start : start + size]
    file.seek(-5, io.SEEK_END)
    assert file.read() == DATA[-5:]


def test_the_whole_object_comes_window_by_window(s3: CountingS3):
    assert opened(s3).read() == DATA
    assert s3.requests <= 5


def test_the_end_is_there_from_the_beginning(s3: CountingS3):
    """A zip's index stands at its end."""
    file = opened(s3)
    for offset in (-22, -1000, -WINDOW_BYTES // 2):
        file.seek(offset, io.SEEK_END)
        assert file.read(20) == DATA[offset:][:20]
    assert s3.requests == 1


def test_an_object_smaller_than_a_window_is_one_request(s3: CountingS3):
    file = opened(s3, "small")
    assert file.read() == DATA[:100]
    assert s3.requests == 1


def test_a_missing_object_is_told_at_once(s3: CountingS3):
    with pytest.raises(ClientError, match="NoSuchKey"):
        opened(s3, "missing")
