"""Paging: alerts reach the on-call service once and in order; one that it refuses is logged and not tried for ever.

An event is claimed in the ledger before the service is called, and entered as through afterwards. Where a worker dies
in between, the claim runs out and the page is sent again, perhaps for a second time, with the same dedup key: to the
service it is the same page.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from treeline.app.messages import MessageDelay, QueueMessage
from treeline.app.page.ledger import PageEntry, PageLedger, Turn, followed_by, position_of
from treeline.core.alert import Alert, AlertEvent
from treeline.core.errors import StoreUnavailableError

_MAX_BACKOFF_S = 900
_MAX_HOLD_S = 30
# How often an event is put back to wait for an earlier one. With pauses of 1, 2, 4, 8, 16 and then 30 s an opening
# waits half a minute for a resolution that never comes, the others two minutes.
_OPENING_LOOKS, _OTHER_LOOKS = 5, 8
_LEDGER_TRIES = 3  # after these a page is sent without the ledger: one too many is better than none
_WAITING_SLACK_MS = 60_000  # by which a page put off may come back later than it was put off for


class PageFailure(StrEnum):
    """Why a page was not delivered; the value is a metric dimension."""

    REJECTED = "rejected"  # 400 and whatever else says that the same event will never be taken
    UNAUTHORIZED = "unauthorized"  # the routing key is not accepted, also after a fresh look at the secret: it waits
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    KEY_UNAVAILABLE = "key_unavailable"  # the secret could not be read
    MALFORMED_ALERT = "malformed_alert"
    HELD_BACK = "held_back"  # an earlier event of the same dedup key has to go first
    LEDGER_UNAVAILABLE = "ledger_unavailable"  # whether it was sent before cannot be known now
    OUT_OF_TIME = "out_of_time"  # the invocation would end before the answer could come


PERMANENT_FAILURES = frozenset({PageFailure.REJECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The answer to one page."""

    failure: PageFailure | None = None  # None: taken
    status: int | None = None  # HTTP status, if there was an answer
    detail: str = ""
    retry_after_s: float | None = None  # what the service asked for
    cut: Sequence[str] = ()  # fields cut to the service's limits


class Pager(Protocol):
    """The on-call service."""

    def page(self, alert: Alert) -> Delivery | None:
        """Tell it of an incident event; None when the event is none of its business (suppressed). Never raises."""


class PageResult(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    IGNORED = "ignored"  # suppressed: nobody is paged
    SUPERSEDED = "superseded"  # delivered before, or a later event of the same incident was
    REFUSED = "refused"  # never to be taken: recorded, not retried
    WAITING = "waiting"  # comes again later


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOutcome:
    """One message, its alert (None: it holds none) and what became of it."""

    message: QueueMessage
    result: PageResult
    alert: Alert | None = None
    delivery: Delivery | None = None
    delay_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PagingService:
    """Delivers a batch of alerts."""

    pager: Pager
    queue: MessageDelay
    ledger: PageLedger
    retry_base_s: int  # the bound of the wait after a first failure; it doubles with every further one
    # The longest that telling one page may take: a claim older than that is a dead worker's, and an invocation with
    # less time left than that begins no further page.
    claim_s: float
    random: Callable[[], float]  # gives a number in [0, 1)
    clock_ms: Callable[[], int]
    # Told when a page is through but could not be entered, and so may be repeated.
    on_unwritten: Callable[[Exception], None] = lambda _: None

    def deliver(
        self, messages: Sequence[QueueMessage], *, remaining_ms: Callable[[], float] = lambda: math.inf
    ) -> list[PageOutcome]:
        """Deliver in order of incident and sequence; what waits is to be reported as a failed item.

        A message that is no alert waits as well: it may be of a newer version that is being deployed, and if not,
        the queue hands it to its dead letters, body and all.

        Args:
            messages: A batch of the queue, in any order.
            remaining_ms: How long the invocation may still take; asked before every page but the first. One that is
                cut off in the middle would deliver everything again that it had delivered.
        """
        outcomes: list[PageOutcome] = []
        alerts: list[tuple[QueueMessage, Alert]] = []
        for message in messages:
            try:
                alert = Alert.from_json(json.loads(message.body))
                _check_order(alert)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                problem = Delivery(failure=PageFailure.MALFORMED_ALERT, detail=f"{type(error).__name__}: {error}")
                outcomes.append(self._wait(message, None, problem))
            else:
                alerts.append((message, alert))
        alerts.sort(key=lambda entry: (entry[1].dedup_key, position_of(entry[1])))
        for i, (message, alert) in enumerate(alerts):
            if i > 0 and remaining_ms() <= 1000 * self.claim_s:
                outcomes.append(self._wait(message, alert, Delivery(failure=PageFailure.OUT_OF_TIME)))
            else:
                outcomes.append(self._deliver(message, alert))
        return outcomes

    def _deliver(self, message: QueueMessage, alert: Alert) -> PageOutcome:
        key, position = alert.dedup_key, position_of(alert)
        try:
            entry = self.ledger.load(key)
            turn = entry.turn(
                position, follows=followed_by(alert), now_ms=self.clock_ms(), is_overdue=_is_overdue(message, alert)
            )
            if turn is Turn.SUPERSEDED:
                return PageOutcome(message=message, result=PageResult.SUPERSEDED, alert=alert)
            if turn is not Turn.GO:
                return self._hold(message, alert, turn)
            entry = entry.claim(position, self.clock_ms() + round(1000 * self.claim_s))
            if not self.ledger.save(key, entry):
                return self._hold(message, alert, Turn.BUSY)
        except StoreUnavailableError as error:
            if message.receive_count <= _LEDGER_TRIES:
                failure = Delivery(failure=PageFailure.LEDGER_UNAVAILABLE, detail=str(error))
                return self._wait(message, alert, failure)
            entry = None
        delivery = self.pager.page(alert)
        if delivery is not None and delivery.failure is not None and delivery.failure not in PERMANENT_FAILURES:
            outcome = self._wait(message, alert, delivery)
            back_ms = self.clock_ms() + 1000 * (outcome.delay_s or 0) + _WAITING_SLACK_MS
            self._enter(key, entry and entry.put_off(position, back_ms))
            return outcome
        self._enter(key, entry and entry.done(position, alert.event))
        if delivery is None:
            return PageOutcome(message=message, result=PageResult.IGNORED, alert=alert)
        result = PageResult.DELIVERED if delivery.failure is None else PageResult.REFUSED
        return PageOutcome(message=message, result=result, alert=alert, delivery=delivery)

    def _enter(self, key: str, entry: PageEntry | None) -> None:
        """Write what became of a claim; where that fails the claim runs out and the page is repeated."""
        if entry is None:
            return
        try:
            self.ledger.save(key, entry)
        except StoreUnavailableError as error:
            self.on_unwritten(error)

    def _hold(self, message: QueueMessage, alert: Alert, turn: Turn) -> PageOutcome:
        """Put back until the earlier event should be through: soon, unless PagerDuty put that one off."""
        delivery = Delivery(failure=PageFailure.HELD_BACK, detail=turn.name.lower())
        if turn is Turn.BEHIND:
            return self._wait(message, alert, delivery)
        delay_s = min(1 << min(message.receive_count - 1, 10), _MAX_HOLD_S)
        self.queue.delay(message.receipt_handle, delay_s)
        return PageOutcome(message=message, result=PageResult.WAITING, alert=alert, delivery=delivery, delay_s=delay_s)

    def _wait(self, message: QueueMessage, alert: Alert | None, delivery: Delivery) -> PageOutcome:
        delay_s = backoff_s(
            message.receive_count, base_s=self.retry_base_s, random=self.random(), retry_after_s=delivery.retry_after_s
        )
        self.queue.delay(message.receipt_handle, delay_s)
        return PageOutcome(message=message, result=PageResult.WAITING, alert=alert, delivery=delivery, delay_s=delay_s)


def _is_overdue(message: QueueMessage, alert: Alert) -> bool:
    """Whether to stop waiting for earlier events, which may be dead letters or were never published."""
    return message.receive_count > (_OPENING_LOOKS if alert.event is AlertEvent.OPENED else _OTHER_LOOKS)


def backoff_s(receive_count: int, *, base_s: int, random: float, retry_after_s: float | None = None) -> int:
    """Whole seconds to hide a message: half of an exponentially growing bound, and a random part of the other half.

    Args:
        receive_count: Deliveries so far, at least 1.
        base_s: The bound after the first.
        random: A number in [0, 1).
        retry_after_s: What the service asked for; never less than that, up to 15 minutes.
    """
    # The exponent is cut as the cap has long taken over by then.
    bound = min(float(_MAX_BACKOFF_S), base_s * 2.0 ** min(max(receive_count, 1) - 1, 30))
    wait = bound / 2 * (1 + random)
    if retry_after_s is not None:
        wait = max(wait, min(retry_after_s, _MAX_BACKOFF_S))
    return max(1, round(wait))


def _check_order(alert: Alert) -> None:
    """Raise TypeError where the fields that put events in order are not of their type; JSON does not say."""
    texts = (alert.dedup_key, alert.incident_id, alert.follows)
    if not all(isinstance(text, str) for text in texts) or not isinstance(alert.sequence, int):
        raise TypeError(f"dedup_key, incident_id, follows and sequence: {texts!r} {alert.sequence!r}")
