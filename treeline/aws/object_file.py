"""An S3 object as a file that is read at any place, by ranges: of a large object only what is needed is fetched."""

import io
import re
from typing import TYPE_CHECKING

from treeline.aws.client_types import S3Client

if TYPE_CHECKING:
    from typing_extensions import Buffer

WINDOW_BYTES = 512 * 1024  # fetched at once; a request takes as long as some hundred kilobytes


class ObjectFile(io.RawIOBase):
    """Read-only; it holds the part that was fetched last, and the end of the object, where a zip has its index.

    Raises ClientError as S3 does, at the beginning where the object is missing.
    """

    def __init__(self, s3: S3Client, *, bucket: str, key: str) -> None:
        self._s3, self._bucket, self._key = s3, bucket, key
        self._at = 0
        answer = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{WINDOW_BYTES}")
        self._tail = answer["Body"].read()
        total = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.get("ContentRange", ""))
        self._size = int(total.group(1)) if total else len(self._tail)  # no range: the answer is the whole object
        self._window, self._start = b"", 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, from the beginning, from here or from the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill the buffer from here, or as far as the object goes; how many bytes that were."""
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        data = self._held(self._size - len(self._tail), self._tail, end) or self._held(self._start, self._window, end)
        if not data:
            last = min(max(end, self._at + WINDOW_BYTES), self._size) - 1
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._at}-{last}")
            self._window, self._start = answer["Body"].read(), self._at
            data = self._held(self._start, self._window, end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _held(self, start: int, held: bytes, end: int) -> bytes:
        """The bytes from here to `end` where they are held, else none."""
        return held[self._at - start : end - start] if start <= self._at and end <= start + len(held) else b""
