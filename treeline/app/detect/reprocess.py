"""Reprocess: ticks that became dead letters while the endpoint was down return to the queue once it serves again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from treeline.app.detect.ticks import DelayedTick, Tick, TickCause, TickQueue
from treeline.app.messages import QueueMessage
from treeline.app.metrics import OwnMetric
from treeline.app.telemetry import Telemetry
from treeline.core.errors import MalformedRecordError

# Statuses in which InvokeEndpoint is answered: an endpoint serves while it is updated, maintained or rolled back, and
# after UpdateRollbackFailed it is "in service with a mix of the old and new endpoint configurations".
EMBEDDED = "Embedded"  # ours: there is no endpoint to wait for
SERVING_STATUSES = frozenset(
    {"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed", EMBEDDED}
)
_ATTEMPT_TICKS = 10  # one SendMessageBatch


class EndpointStatus(Protocol):
    """The model endpoint, asked for its health."""

    def status(self) -> str | None:
        """SageMaker's EndpointStatus; None when there is no such endpoint."""


class EmbeddedStatus:
    """No endpoint: where detect runs, it can score."""

    def status(self) -> str:
        """See `EndpointStatus`."""
        return EMBEDDED


class DeadTicks(Protocol):
    """The dead-letter queue of ticks."""

    def receive(self, limit: int) -> list[QueueMessage]:
        """Take up to `limit` messages, which stay hidden for a while."""

    def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Delete them; returns how many stayed."""

    def release(self, messages: Sequence[QueueMessage]) -> None:
        """Show them again at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReprocessOutcome:
    """What one run did."""

    endpoint_status: str | None
    received: int = 0
    ticks_redriven: int = 0
    messages_deleted: int = 0
    messages_left: int = 0  # not redriven this time: the next run has them
    malformed: Sequence[tuple[QueueMessage, str]] = ()  # kept in the queue, with what is wrong with each


@dataclass(slots=True)
class _Group:
    """The dead messages of one group, oldest first, and the oldest observation any of them named."""

    messages: list[QueueMessage]
    since_ms: int | None


def can_serve(status: str | None) -> bool:
    """Whether an endpoint of this status answers requests; an unknown endpoint does not."""
    return status in SERVING_STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class ReprocessService:
    """Moves dead ticks back, one per group, oldest first, spread over `max_delay_s` with jitter."""

    # Asked before every attempt: with a dead endpoint, redriven ticks would only become dead letters again.
    endpoint: EndpointStatus
    dead: DeadTicks
    ticks: TickQueue
    max_messages: int  # dead messages to take in one run
    max_delay_s: int  # the time the ticks are spread over, so that a fresh endpoint does not get them all at once
    random: Callable[[], float]  # gives a number in [0, 1)

    def reprocess(self) -> ReprocessOutcome:
        """Redrive once. Safe at any crash: a message is deleted after its tick was sent, and ticks may repeat."""
        status = self.endpoint.status()
        if not can_serve(status):
            return ReprocessOutcome(endpoint_status=status)
        received = self.dead.receive(self.max_messages)
        groups, malformed = _by_group(received)
        ordered = sorted(groups.items(), key=lambda entry: entry[1].messages[0].sent_at_ms or 0)
        delayed = self._delayed([(group, entry.since_ms) for group, entry in ordered])
        redriven = deleted = 0
        left: list[QueueMessage] = []
        for start in range(0, len(delayed), _ATTEMPT_TICKS):
            chunk = delayed[start : start + _ATTEMPT_TICKS]
            messages = [entry.messages for _, entry in ordered[start : start + _ATTEMPT_TICKS]]
            if start:
                status = self.endpoint.status()
            failed = set(self.ticks.send(chunk)) if can_serve(status) else set(range(len(chunk)))
            done = [m for i, batch in enumerate(messages) if i not in failed for m in batch]
            left.extend(m for i, batch in enumerate(messages) if i in failed for m in batch)
            redriven += len(chunk) - len(failed)
            deleted += len(done) - self.dead.delete(done)
        if left:
            self.dead.release(left)
        return ReprocessOutcome(
            endpoint_status=status,
            received=len(received),
            ticks_redriven=redriven,
            messages_deleted=deleted,
            messages_left=len(left),
            malformed=malformed,
        )

    def _delayed(self, groups: Sequence[tuple[int, int | None]]) -> list[DelayedTick]:
        """Each tick gets its own slot of the time and a random place in the slot, so they keep their order."""
        slot_s = self.max_delay_s / max(1, len(groups))
        return [
            DelayedTick(
                tick=Tick(group=group, since_ms=since_ms, cause=TickCause.REDRIVE),
                delay_s=int((i + self.random()) * slot_s),
            )
            for i, (group, since_ms) in enumerate(groups)
        ]


def _by_group(received: Sequence[QueueMessage]) -> tuple[dict[int, _Group], list[tuple[QueueMessage, str]]]:
    groups: dict[int, _Group] = {}
    malformed: list[tuple[QueueMessage, str]] = []
    for message in sorted(received, key=lambda m: (m.sent_at_ms or 0, m.message_id)):
        try:
            tick = Tick.from_body(message.body)
        except MalformedRecordError as error:
            malformed.append((message, str(error)))
            continue
        group = groups.setdefault(tick.group, _Group([], None))
        group.messages.append(message)
        known = [since for since in (group.since_ms, tick.since_ms) if since is not None]
        group.since_ms = min(known, default=None)
    return groups, malformed


def report(telemetry: Telemetry, outcome: ReprocessOutcome) -> None:
    """Write what one run did, and what in the queue is no tick."""
    for message, problem in outcome.malformed:
        telemetry.logger.error(
            "dead message is no tick; it stays in the queue",
            message_id=message.message_id,
            body=message.body,
            problem=problem,
        )
    telemetry.add(OwnMetric.DeadTicksReceived, outcome.received)
    telemetry.add(OwnMetric.TicksRedriven, outcome.ticks_redriven)
    telemetry.add(OwnMetric.DeadTicksLeft, outcome.messages_left)
    telemetry.add(OwnMetric.DeadTicksMalformed, len(outcome.malformed))
    telemetry.logger.info(
        "dead ticks redriven" if outcome.ticks_redriven else "nothing redriven",
        endpoint_status=outcome.endpoint_status,
        received=outcome.received,
        ticks_redriven=outcome.ticks_redriven,
        messages_deleted=outcome.messages_deleted,
        messages_left=outcome.messages_left,
    )
