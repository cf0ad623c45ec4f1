"""How boto3's clients wait and try again, and the clock."""

import time
from collections.abc import Mapping

from botocore.config import Config

from treeline.core.times import parse_iso


def patience(*, connect_s: float = 2, read_s: float, attempts: int) -> Config:
    """A client that gives up in time: boto3's own minutes of waiting can outlast the function.

    Args:
        connect_s: Seconds for a connection.
        read_s: Seconds for an answer.
        attempts: Tries beyond the first, by boto3's count of `max_attempts`.
    """
    retries = {"mode": "standard", "max_attempts": attempts}
    return Config(connect_timeout=connect_s, read_timeout=read_s, retries=retries)  # type: ignore[arg-type]


def now_ms() -> int:
    """This moment, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def now_of(event: Mapping[str, object]) -> int:
    """The moment an invocation is about, milliseconds: `now` or EventBridge's `time`, else this moment."""
    moment = event.get("now") or event.get("time")
    return parse_iso(str(moment)) if moment else now_ms()
