"""What ingest takes in, and the four places it writes to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from treeline.core.observation import Observation
from treeline.core.rejection import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """One record of the stream; `received_at_ms` is when the stream took it."""

    shard_id: str
    sequence_number: str
    received_at_ms: int
    data: bytes


class RecordDecoder(Protocol):
    """Reads what senders put into a record; `treeline.sources` has one a wire format."""

    def judge(self, data: bytes, received_at_ms: int) -> Iterator[tuple[bytes, Observation | Rejection]]:
        """Yield each record in `data` with the verdict on it; never raises.

        An observation is followed by a rejection, with `metric`, of each value that was left out of it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An observation with the time it was received at, in ms since the epoch."""

    observation: Observation
    received_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What the servers table says of the servers of a batch."""

    numbers: Mapping[str, int]  # a server that could not be looked up or registered now is not in it
    new_servers: int  # how many were seen for the first time, by any worker


class ServerRegistry(Protocol):
    """Numbers servers on first sight, without gaps; a number never changes."""

    def register(self, receipts: Sequence[Receipt]) -> Registration:
        """Find or give the number of each server, in order of first appearance, and note it was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedReceipt:
    """A receipt and the group its server belongs to."""

    receipt: Receipt
    group: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendResult:
    """What became of an append, by position in the list given."""

    failed: Sequence[int] = ()  # could not be written now; to be tried again
    refused: Mapping[int, str] = field(default_factory=dict)  # will never be written, and what the store says


class ObservationStore(Protocol):
    """The append-only table of observations."""

    def append(self, rows: Sequence[NumberedReceipt]) -> AppendResult:
        """Write all rows, whose keys differ; writing the same one again changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRecord:
    """A rejected record, or one value of it, and where in the stream it came from."""

    record: StreamRecord
    rejection: Rejection


class Quarantine(Protocol):
    """Where rejected records are kept with their reasons."""

    def put(self, first: StreamRecord, rejected: Sequence[QuarantinedRecord]) -> None:
        """Keep them in one object named after `first`, the batch's first record; a repetition overwrites it.

        Raises StoreUnavailableError where they are not kept: the batch must be tried again from the first of them.
        """
