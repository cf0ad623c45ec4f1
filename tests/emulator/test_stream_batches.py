import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.delivery.stream_batches import MappingRules, Piece, PieceOutcome, expire, next_step, read_outcome

NUMBERS = ["10", "11", "12", "13"]
REPORTING = MappingRules(report_item_failures=True)


def test_the_lowest_reported_sequence_number_is_where_the_retry_starts():
    body = {"batchItemFailures": [{"itemIdentifier": "13"}, {"itemIdentifier": "11"}]}
    assert read_outcome(REPORTING, NUMBERS, body) == PieceOutcome(1)


@pytest.mark.parametrize(
    "body",
    [
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"wrong": "11"}]},
        {"batchItemFailures": [{"itemIdentifier": "99"}]},
        {"batchItemFailures": "11"},
        ["11"],
        "not json",
    ],
)
def test_a_response_that_names_no_record_of_the_batch_retries_the_whole_batch(body):
    assert read_outcome(REPORTING, NUMBERS, body) == PieceOutcome(0)


@pytest.mark.parametrize("body", [None, "", {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_an_empty_report_is_success(body):
    assert read_outcome(REPORTING, NUMBERS, body) == PieceOutcome(None)


def test_without_the_response_type_a_report_is_ignored():
    body = {"batchItemFailures": [{"itemIdentifier": "11"}]}
    assert read_outcome(MappingRules(), NUMBERS, body) == PieceOutcome(None)


def test_a_function_error_outweighs_what_the_function_said():
    assert read_outcome(REPORTING, NUMBERS, None, "RuntimeError") == PieceOutcome(0, "RuntimeError")


def test_progress_starts_the_remainder_anew():
    step = next_step(REPORTING, Piece(0, 4, retries=3), (), PieceOutcome(2))
    assert step.pending == (Piece(2, 4),)
    assert step.delay_s == 0


def test_bisecting_tries_both_halves_without_counting_a_retry():
    step = next_step(MappingRules(bisect=True, max_retries=0), Piece(0, 5), (Piece(5, 6),), PieceOutcome(0))
    assert [(p.start, p.end, p.retries) for p in step.pending] == [(0, 3, 0), (3, 5, 0), (5, 6, 0)]


def test_a_single_record_is_retried_as_often_as_allowed_then_discarded():
    rules = MappingRules(bisect=True, max_retries=2)
    pending: tuple[Piece, ...] = (Piece(0, 1),)
    invocations = 0
    while pending:
        invocations += 1
        step = next_step(rules, pending[0], pending[1:], PieceOutcome(0))
        pending = step.pending
    assert invocations == 3
    assert (step.discarded.start, step.condition) == (0, "RetryAttemptsExhausted")


def test_without_a_limit_a_batch_is_retried_for_ever_with_a_growing_pause():
    piece, delays = Piece(0, 2), []
    for _ in range(12):
        step = next_step(MappingRules(), piece, (), PieceOutcome(0))
        (piece,) = step.pending
        delays.append(step.delay_s)
    assert delays == sorted(delays)
    assert delays[-1] == 10.0


def test_records_beyond_the_maximum_age_are_split_off():
    rules = MappingRules(max_age_s=60)
    expired, remaining = expire(rules, Piece(0, 3, retries=1), [0.0, 30.0, 100.0], now=120.0)
    assert (expired.start, expired.end) == (0, 2)
    assert (remaining.start, remaining.end, remaining.retries) == (2, 3, 1)


def test_a_mapping_from_a_template_may_write_its_numbers_as_text():
    rules = MappingRules.of(
        {
            "BatchSize": "500",
            "MaximumRetryAttempts": "-1",
            "MaximumRecordAgeInSeconds": "60",
            "BisectBatchOnFunctionError": "true",
        }
    )
    assert (rules.batch_size, rules.max_retries, rules.max_age_s, rules.bisect) == (500, None, 60.0, True)


@given(
    size=st.integers(1, 40),
    poison=st.sets(st.integers(0, 39)),
    retries=st.integers(0, 3),
    bisect=st.booleans(),
    reporting=st.booleans(),
)
def test_every_record_is_delivered_or_discarded_in_order_and_only_once(size, poison, retries, bisect, reporting):
    """With bisecting only the poison itself is lost; the shard always moves on."""
    poison = {p for p in poison if p < size}
    rules = MappingRules(bisect=bisect, max_retries=retries, report_item_failures=reporting)
    pending: tuple[Piece, ...] = (Piece(0, size),)
    done: list[int] = []
    discarded: list[int] = []
    while pending:
        piece, rest = pending[0], pending[1:]
        bad = [i for i in range(piece.start, piece.end) if i in poison]
        failed_at = None if not bad else bad[0] - piece.start if reporting else 0
        step = next_step(rules, piece, rest, PieceOutcome(failed_at))
        done += range(piece.start, piece.end if failed_at is None else piece.start + failed_at)
        if step.discarded is not None:
            discarded += range(step.discarded.start, step.discarded.end)
        pending = step.pending
    assert sorted(done + discarded) == list(range(size))
    assert done == sorted(done)
    assert not poison & set(done)
    if bisect:
        assert set(discarded) == poison
