from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ingest_fakes import MemoryTicks
from treeline.app.detect.reprocess import EmbeddedStatus, ReprocessService, can_serve
from treeline.app.detect.ticks import Tick, TickCause
from treeline.app.messages import QueueMessage
from treeline.core.errors import MalformedRecordError


class Endpoint:
    """Says its statuses one after the other, the last one for ever."""

    def __init__(self, *statuses: str | None) -> None:
        self.statuses = list(statuses)
        self.asked = 0

    def status(self) -> str | None:
        self.asked += 1
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


class DeadLetters:
    def __init__(self, *messages: QueueMessage) -> None:
        self.messages = list(messages)
        self.hidden: set[str] = set()
        self.receives = 0

    def receive(self, limit: int) -> list[QueueMessage]:
        self.receives += 1
        taken = [m for m in self.messages if m.message_id not in self.hidden][:limit]
        self.hidden |= {m.message_id for m in taken}
        return taken

    def delete(self, messages: Sequence[QueueMessage]) -> int:
        self.messages = [m for m in self.messages if m not in messages]
        return 0

    def release(self, messages: Sequence[QueueMessage]) -> None:
        self.hidden -= {m.message_id for m in messages}


def dead(group: int, sent_at_ms: int, since_ms: int | None = None) -> QueueMessage:
    body = Tick(group=group, since_ms=since_ms, cause=TickCause.OBSERVATIONS).to_body()
    return message(body, sent_at_ms)


def message(body: str, sent_at_ms: int) -> QueueMessage:
    name = f"m{sent_at_ms}"
    return QueueMessage(message_id=name, receipt_handle=name, body=body, sent_at_ms=sent_at_ms)


def service(endpoint: Endpoint, letters: DeadLetters, ticks: MemoryTicks, **changes) -> ReprocessService:
    values = {"max_messages": 500, "max_delay_s": 30, "random": lambda: 0.5, **changes}
    return ReprocessService(endpoint=endpoint, dead=letters, ticks=ticks, **values)


STATUSES = {
    "InService": True,
    "Updating": True,
    "SystemUpdating": True,
    "RollingBack": True,
    "UpdateRollbackFailed": True,
    "Creating": False,
    "Failed": False,
    "OutOfService": False,
    "Deleting": False,
    "SomethingNew": False,
    None: False,
}


@pytest.mark.parametrize(("status", "serves"), STATUSES.items())
def test_ticks_move_only_while_the_endpoint_answers(status, serves):
    letters, ticks = DeadLetters(dead(3, 1)), MemoryTicks()

    outcome = service(Endpoint(status), letters, ticks).reprocess()

    assert can_serve(status) is serves
    assert (len(ticks.sent), len(letters.messages)) == ((1, 0) if serves else (0, 1))
    assert letters.receives == (1 if serves else 0)
    assert outcome.endpoint_status == status


def test_without_an_endpoint_ticks_always_move():
    letters, ticks = DeadLetters(dead(3, 1)), MemoryTicks()

    outcome = service(EmbeddedStatus(), letters, ticks).reprocess()

    assert (len(ticks.sent), letters.messages, outcome.endpoint_status) == (1, [], "Embedded")


def test_a_group_is_redriven_once_from_its_oldest_observation():
    letters, ticks = DeadLetters(dead(3, 1, 5000), dead(3, 2, 4000), dead(3, 3, None)), MemoryTicks()

    outcome = service(Endpoint("InService"), letters, ticks).reprocess()

    assert [t.tick for t in ticks.sent] == [Tick(group=3, since_ms=4000, cause=TickCause.REDRIVE)]
    assert (outcome.received, outcome.ticks_redriven, outcome.messages_deleted) == (3, 1, 3)
    assert letters.messages == []


def test_the_oldest_goes_first_and_the_rest_follow_spread_over_the_time():
    letters, ticks = DeadLetters(dead(7, 30), dead(8, 10), dead(9, 20)), MemoryTicks()

    service(Endpoint("InService"), letters, ticks).reprocess()

    assert [(t.tick.group, t.delay_s) for t in ticks.sent] == [(8, 5), (9, 15), (7, 25)]


@given(st.integers(1, 60), st.integers(0, 900), st.floats(0, 1, exclude_max=True))
def test_delays_keep_the_order_and_stay_within_the_limit(groups, max_delay_s, random):
    letters, ticks = DeadLetters(*(dead(g, g) for g in range(groups))), MemoryTicks()

    service(Endpoint("InService"), letters, ticks, max_delay_s=max_delay_s, random=lambda: random).reprocess()

    delays = [t.delay_s for t in ticks.sent]
    assert delays == sorted(delays)
    assert all(0 <= d <= max_delay_s for d in delays)


def test_a_message_is_kept_until_its_tick_is_sent():
    letters, ticks = DeadLetters(dead(1, 1), dead(2, 2)), MemoryTicks()
    ticks.failing_groups = {2}

    outcome = service(Endpoint("InService"), letters, ticks).reprocess()

    assert [m.message_id for m in letters.messages] == ["m2"]
    assert (outcome.messages_left, letters.hidden) == (1, {"m1"})


def test_an_endpoint_that_fails_on_the_way_stops_the_redrive_and_leaves_the_rest():
    letters, ticks = DeadLetters(*(dead(g, g) for g in range(25))), MemoryTicks()
    endpoint = Endpoint("InService", "InService", "Failed")

    outcome = service(endpoint, letters, ticks).reprocess()

    assert [t.tick.group for t in ticks.sent] == list(range(20))
    assert (outcome.messages_left, len(letters.messages), outcome.endpoint_status) == (5, 5, "Failed")
    assert endpoint.asked == 3


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"group": -1, "since": null, "cause": "heartbeat"}',
        '{"group": "3", "since": null, "cause": "heartbeat"}',
        '{"group": 3, "since": "soon", "cause": "heartbeat"}',
        '{"group": 3, "since": 5, "cause": "heartbeat"}',
        '{"group": 3, "since": null, "cause": "boredom"}',
    ],
)
def test_a_dead_message_that_is_no_tick_is_reported_with_its_body_and_stays(body):
    letters, ticks = DeadLetters(message(body, 1), dead(2, 2)), MemoryTicks()

    outcome = service(Endpoint("InService"), letters, ticks).reprocess()

    [(malformed, problem)] = outcome.malformed
    assert (malformed.body, letters.messages) == (body, [malformed])
    assert problem.startswith("not a tick")
    assert [t.tick.group for t in ticks.sent] == [2]


def test_a_tick_survives_its_message():
    tick = Tick(group=3, since_ms=1795363110000, cause=TickCause.OBSERVATIONS)

    assert Tick.from_body(tick.to_body()) == tick
    assert tick.to_body() == '{"group": 3, "since": "2026-11-22T15:58:30.000Z", "cause": "observations"}'


@given(st.text(alphabet='{}[]":,gsc 0', max_size=60))
def test_any_other_body_is_malformed_and_nothing_else(body):
    with pytest.raises(MalformedRecordError, match="not a tick"):
        Tick.from_body(body)
