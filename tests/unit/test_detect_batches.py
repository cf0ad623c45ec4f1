"""What detect does with a batch of ticks: groups fail alone, and nothing that can be read waits for what cannot."""

import json

import pytest

from tests.unit.telemetry_fakes import MemoryTelemetry
from treeline.app.detect.batch import TickBatch
from treeline.app.detect.ticks import Tick, TickCause
from treeline.app.messages import QueueMessage
from treeline.app.metrics import OwnMetric
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError, StateConflictError

DAY_1, DAY_2 = 1_767_225_600_000, 1_767_312_000_000


class Service:
    """Runs what it is told, per group."""

    def __init__(self, faults, read=()):
        self.faults = faults
        self.read = read
        self.ran = []

    def has_read(self, group, *, asked_ms, since_ms):
        return (group, asked_ms) in self.read

    def run(self, tick, outcome, *, until_ms):
        assert until_ms == 20_000
        self.ran.append(tick)
        outcome.scored, outcome.commits = 7, 1
        if tick.group in self.faults:
            raise self.faults[tick.group]
        return outcome


class Queue:
    """Remembers what was put off, and for how long."""

    def __init__(self):
        self.delayed = {}

    def delay(self, receipt_handle, delay_s):
        self.delayed[receipt_handle] = delay_s


class AdapterError(Exception):
    """Stands for boto3's."""


def message(number, body, *, sent_at_ms=0):
    sent_at_ms = 1000 * number if sent_at_ms == 0 else sent_at_ms
    return QueueMessage(message_id=f"m{number}", receipt_handle=f"r{number}", body=body, sent_at_ms=sent_at_ms)


def tick(number, group, since_ms=None, cause=TickCause.OBSERVATIONS):
    return message(number, Tick(group, since_ms, cause).to_body())


def run(messages, faults=None, read=(), random=0.5):
    service, queue, telemetry = Service(faults or {}, read), Queue(), MemoryTelemetry()
    batch = TickBatch(
        service=service,
        queue=queue,
        telemetry=telemetry,
        retry_s=20,
        random=lambda: random,
        adapter_errors=(AdapterError,),
    )
    return service, queue, telemetry, batch.run(messages, until_ms=20_000)


def test_ticks_of_one_group_are_one_run_from_the_oldest_on():
    service, _, _, failed = run([tick(1, 3, DAY_2), tick(2, 3, DAY_1), tick(3, 3), tick(4, 1)])
    assert service.ran == [Tick(1, None, TickCause.OBSERVATIONS), Tick(3, DAY_1, TickCause.OBSERVATIONS)]
    assert failed == []


@pytest.mark.parametrize("cause", [TickCause.HEARTBEAT, TickCause.REDRIVE])
def test_a_run_is_a_sweep_where_one_of_its_ticks_is(cause):
    service, *_ = run([tick(1, 3, DAY_2), tick(2, 3, None, cause)])
    assert service.ran == [Tick(3, DAY_2, cause)]
    assert service.ran[0].is_sweep


def test_a_tick_that_asks_for_what_this_worker_has_read_starts_nowhere():
    """Else each of a backlog's ticks reads the whole backlog again."""
    service, _, _, failed = run([tick(1, 3, DAY_1), tick(2, 3, DAY_2)], read={(3, 1000)})
    assert [t.since_ms for t in service.ran] == [DAY_2]
    assert failed == []


def test_a_tick_of_unknown_age_is_read_for_and_holds_nobody_up():
    """Somebody else's message, or an invocation by hand: Lambda's own events say when a message was sent."""
    foreign = message(1, Tick(3, DAY_1).to_body(), sent_at_ms=None)
    service, _, _, failed = run([foreign, tick(2, 4)], read={(3, None)})
    assert [(t.group, t.since_ms) for t in service.ran] == [(3, DAY_1), (4, None)]
    assert failed == []


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (StateConflictError("contended"), OwnMetric.StateConflicts),
        (ModelMismatchError("wrong model"), OwnMetric.TickFailures),
        (AdapterError("throttled"), OwnMetric.TickFailures),
    ],
)
def test_a_group_that_fails_does_not_keep_the_others_waiting(error, counted):
    service, queue, telemetry, failed = run([tick(1, 0), tick(2, 1), tick(3, 1), tick(4, 2)], {1: error})
    assert [t.group for t in service.ran] == [0, 1, 2]
    assert failed == ["m2", "m3"]
    assert set(queue.delayed) == {"r2", "r3"}, "they come back soon, not after the queue's visibility timeout"
    assert 1 in telemetry.values[counted]


def test_what_is_nobodys_known_error_is_for_lambda_to_see():
    with pytest.raises(ZeroDivisionError):
        run([tick(1, 0)], {0: ZeroDivisionError()})


def test_what_was_committed_before_an_error_is_counted():
    """Else the dashboards show fewer scored than stored, and the page that went out has no latency."""
    _, _, telemetry, _ = run([tick(1, 0)], {0: StateConflictError("contended")})
    assert telemetry.values[OwnMetric.ObservationsScored] == [7]


def test_the_scorer_is_asked_once_while_it_is_down():
    service, queue, telemetry, failed = run(
        [tick(1, 0), tick(2, 1), tick(3, 2)], {1: ScorerUnavailableError("down"), 2: AssertionError("was asked")}
    )
    assert [t.group for t in service.ran] == [0, 1]
    assert (set(queue.delayed), failed) == ({"r2", "r3"}, ["m2", "m3"])
    assert telemetry.values[OwnMetric.ScorerUnavailable] == [1]


@pytest.mark.parametrize(("random", "delay_s"), [(0.0, 10), (0.999, 30)])
def test_groups_that_failed_together_do_not_return_together(random, delay_s):
    _, queue, _, _ = run([tick(1, 0)], {0: StateConflictError("contended")}, random=random)
    assert queue.delayed == {"r1": delay_s}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "JSONDecodeError"),
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "'group'"),
        ('{"group": "x", "since": null, "cause": "observations"}', "group must be an integer"),
        ('{"group": -1, "since": null, "cause": "observations"}', "group must be an integer"),
        ('{"group": 1, "since": "yesterday", "cause": "observations"}', "yesterday"),
        ('{"group": 1, "since": null, "cause": "boredom"}', "boredom"),
        ("7", "TypeError"),
    ],
)
def test_a_tick_that_cannot_be_read_fails_alone_and_is_told_with_what_is_wrong(body, problem):
    service, _, telemetry, failed = run([message(1, body), tick(2, 5)])
    assert ([t.group for t in service.ran], failed) == ([5], ["m1"])
    [(level, _, fields)] = [line for line in telemetry.lines if line[1] == "tick is not readable"]
    assert level == "error"
    assert problem in fields["error"]


@pytest.mark.parametrize("cause", TickCause)
def test_the_tick_that_is_written_is_the_tick_that_is_read(cause):
    for written in (Tick(0, None, cause), Tick(49, DAY_1, cause), Tick(7, 0, cause)):
        assert Tick.from_body(written.to_body()) == written
    assert json.loads(Tick(1, DAY_1, cause).to_body()) == {
        "group": 1,
        "since": "2026-01-01T00:00:00.000Z",
        "cause": cause.value,
    }
