"""What becomes of a batch of stream records after an invocation: the rules of an event source mapping.

Pure: no clock, no I/O. Source: AWS Lambda developer guide, "Using Lambda to process records from Kinesis":
retries, bisecting, partial responses, on-failure destinations. Where the guide is silent the choice is stated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from emulator.delivery.batch_response import reported_failures

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
BACKOFF_BASE_S = 0.2
BACKOFF_CAP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRules:
    """The settings of a stream's event source mapping; None means without limit."""

    batch_size: int = 100
    window_s: float = 0.0
    max_retries: int | None = None
    max_age_s: float | None = None
    bisect: bool = False
    report_item_failures: bool = False

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> "MappingRules":
        """From a mapping as CreateEventSourceMapping takes it; numbers may be strings, as in a template."""
        retries = int(mapping.get("MaximumRetryAttempts", -1))
        age_s = int(mapping.get("MaximumRecordAgeInSeconds", -1))
        return cls(
            batch_size=int(mapping.get("BatchSize", 100)),
            window_s=float(mapping.get("MaximumBatchingWindowInSeconds", 0)),
            max_retries=None if retries < 0 else retries,
            max_age_s=None if age_s < 0 else float(age_s),
            bisect=str(mapping.get("BisectBatchOnFunctionError", False)).lower() == "true",
            report_item_failures="ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or ()),
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive records to deliver together: [start, end) of the batch, and how often it failed."""

    start: int
    end: int
    retries: int = 0
    invocations: int = 0

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class PieceOutcome:
    """What an invocation said of its piece.

    `failed_at` is the offset in the piece of the first record to retry: None when all went well, 0 when the
    whole piece is to be retried.
    """

    failed_at: int | None = None
    function_error: str | None = None


@dataclass(frozen=True, slots=True)
class NextPieces:
    """What to do next: `pending` in this order, after `delay_s`; `discarded` goes to the destination."""

    pending: tuple[Piece, ...]
    delay_s: float = 0.0
    discarded: Piece | None = None
    condition: Condition | None = None


def read_outcome(
    rules: MappingRules, sequence_numbers: Sequence[str], body: object, function_error: str | None = None
) -> PieceOutcome:
    """The outcome of invoking a function with records of these sequence numbers.

    With ReportBatchItemFailures the lowest reported sequence number counts. A response that is no JSON object, an
    item without identifier, with an empty one, or with one that is not in the batch fails the whole batch; an
    empty or missing list, or a null response, is success.
    """
    if function_error is not None:
        return PieceOutcome(0, function_error)
    if not rules.report_item_failures:
        return PieceOutcome()
    position = {number: index for index, number in enumerate(sequence_numbers)}
    failed = reported_failures(body)
    if failed is None or not position.keys() >= set(failed):
        return PieceOutcome(0)
    return PieceOutcome(min((position[str(number)] for number in failed), default=None))


def next_step(rules: MappingRules, piece: Piece, rest: tuple[Piece, ...], outcome: PieceOutcome) -> NextPieces:
    """Decide after an invocation of `piece`, with `rest` still to come.

    - Success: on to the rest.
    - Progress (a partial response past the first record): what is before it is done; the remainder starts anew,
      with all its retries, since another record heads it (the guide is silent here).
    - No progress and bisecting: both halves are tried, without a retry being counted, down to single records.
    - Otherwise one retry more, after an exponential pause, until the retries are used up: then the piece is
      discarded with the condition RetryAttemptsExhausted.
    """
    piece = replace(piece, invocations=piece.invocations + 1)
    if outcome.failed_at is None:
        return NextPieces(rest)
    if outcome.failed_at > 0:
        remainder = Piece(piece.start + outcome.failed_at, piece.end)
        return NextPieces((remainder, *rest))
    if rules.bisect and len(piece) > 1:
        middle = piece.start + (len(piece) + 1) // 2
        halves = (replace(piece, end=middle), replace(piece, start=middle))
        return NextPieces((*halves, *rest))
    if rules.max_retries is not None and piece.retries >= rules.max_retries:
        return NextPieces(rest, discarded=piece, condition="RetryAttemptsExhausted")
    delay_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(piece.retries, 16))
    return NextPieces((replace(piece, retries=piece.retries + 1), *rest), delay_s=delay_s)


def expire(
    rules: MappingRules, piece: Piece, arrivals: Sequence[float], now: float
) -> tuple[Piece | None, Piece | None]:
    """Split off the records that are too old: (expired, remaining), each None when empty.

    `arrivals` has the time of every record of the batch, ascending; times are epoch seconds.
    """
    if rules.max_age_s is None:
        return None, piece
    cut = piece.start
    while cut < piece.end and now - arrivals[cut] > rules.max_age_s:
        cut += 1
    if cut == piece.start:
        return None, piece
    expired = replace(piece, end=cut)
    return expired, (replace(piece, start=cut) if cut < piece.end else None)
