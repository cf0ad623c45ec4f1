"""A tick: the request to score everything of one group that is not scored yet. A repeated one changes nothing.

Ingest, dispatch and reprocess write ticks to the queue, detect reads them: all by this class.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from treeline.core.errors import MalformedRecordError
from treeline.core.times import iso, parse_iso


class TickCause(StrEnum):
    """What asked for a tick."""

    OBSERVATIONS = "observations"
    HEARTBEAT = "heartbeat"
    REDRIVE = "redrive"


@dataclass(frozen=True, slots=True)
class Tick:
    """One group's request; `since_ms` is the oldest observation touched, None when nothing is known to be new."""

    group: int
    since_ms: int | None = None
    cause: TickCause = TickCause.HEARTBEAT

    @property
    def is_sweep(self) -> bool:
        """Whether it also looks for what no tick asked for, such as observations whose tick could not be sent."""
        return self.cause is not TickCause.OBSERVATIONS

    def to_body(self) -> str:
        """The message body, JSON."""
        since = None if self.since_ms is None else iso(self.since_ms)
        return json.dumps({"group": self.group, "since": since, "cause": self.cause.value})

    @classmethod
    def from_body(cls, body: str) -> "Tick":
        """Read a message body; raises MalformedRecordError naming what is wrong with it."""
        try:
            values = json.loads(body)
            group = values["group"]
            since = values["since"]
            if type(group) is not int or group < 0:
                raise ValueError(f"group must be an integer of at least 0, got {group!r}")
            since_ms = None if since is None else parse_iso(since)
            return cls(group=group, since_ms=since_ms, cause=TickCause(values["cause"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise MalformedRecordError(f"not a tick: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedTick:
    """A tick and how long the queue keeps it back."""

    tick: Tick
    delay_s: int = 0  # 0 to 900, the range of SQS DelaySeconds


class TickQueue(Protocol):
    """Where ticks wait for detect."""

    def send(self, ticks: Sequence[DelayedTick]) -> list[int]:
        """Send them all; returns the positions in `ticks` that could not be sent, empty when all went."""
