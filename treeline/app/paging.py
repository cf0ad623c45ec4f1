"""Paging: alerts reach the on-call service once, in order, and one it refuses is said so and not tried for ever."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from treeline.app.page_ledger import PageLedger, Position
from treeline.core.alert import Alert

_MAX_BACKOFF_S = 900


class PageFailure(StrEnum):
    """Why a page was not delivered; the value is a metric dimension."""

    REJECTED = "rejected"  # 400 and whatever else says that the same event will never be taken
    UNAUTHORIZED = "unauthorized"  # the routing key is not accepted, also after a fresh look at the secret
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    KEY_UNAVAILABLE = "key_unavailable"  # the secret could not be read
    MALFORMED_ALERT = "malformed_alert"
    HELD_BACK = "held_back"  # an earlier event of the same incident has to go first
    OUT_OF_TIME = "out_of_time"  # the invocation would end before the answer could come


PERMANENT_FAILURES = frozenset({PageFailure.REJECTED, PageFailure.UNAUTHORIZED})


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
        ...


class PageQueue(Protocol):
    """The queue alerts wait in."""

    def delay(self, receipt_handle: str, delay_s: int) -> None:
        """Hide a message for `delay_s` more seconds; when that fails it comes back at the queue's own pace."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMessage:
    """One message of the queue; `receive_count` is 1 at first delivery."""

    message_id: str
    receipt_handle: str
    receive_count: int
    body: str


class PageResult(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    IGNORED = "ignored"  # suppressed: nobody is paged
    SUPERSEDED = "superseded"  # delivered before, or a later event of the same incident was
    REFUSED = "refused"  # never to be taken: recorded, not retried
    WAITING = "waiting"  # comes again later


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOutcome:
    """One message, what it said (None: not an alert) and what became of it."""

    message: PageMessage
    result: PageResult
    alert: Alert | None = None
    delivery: Delivery | None = None
    delay_s: int | None = None


class PagingService:
    """Delivers a batch of alerts.

    Args:
        pager: The on-call service.
        queue: Told to hide what is to be tried later.
        ledger: Lives as long as the worker.
        retry_base_s: The bound of the wait after a first failure; it doubles with every further one.
        hold_attempts: A message held back behind an earlier one so many times goes anyway: the earlier one may
            have gone to the dead letters meanwhile, and an incident must not stay open because of that.
        random: Gives a number in [0, 1).
    """

    def __init__(
        self,
        *,
        pager: Pager,
        queue: PageQueue,
        ledger: PageLedger,
        retry_base_s: int,
        random: Callable[[], float],
        hold_attempts: int = 5,
    ) -> None:
        self._pager = pager
        self._queue = queue
        self._ledger = ledger
        self._retry_base_s = retry_base_s
        self._random = random
        self._hold_attempts = hold_attempts

    def deliver(
        self, messages: Sequence[PageMessage], *, has_time: Callable[[], bool] = lambda: True
    ) -> list[PageOutcome]:
        """Deliver in order of incident and sequence; what waits is to be reported as a failed item.

        A message that is no alert waits as well: it may be of a newer version that is being deployed, and if not,
        the queue hands it to its dead letters, body and all.

        Args:
            messages: A batch of the queue, in any order.
            has_time: Whether one more page can be sent and answered; asked before every page but the first. An
                invocation cut off in the middle would deliver everything again that it had delivered.
        """
        outcomes: list[PageOutcome] = []
        alerts: list[tuple[PageMessage, Alert]] = []
        for message in messages:
            try:
                alert = Alert.from_json(json.loads(message.body))
                _check_order(alert)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                problem = Delivery(failure=PageFailure.MALFORMED_ALERT, detail=f"{type(error).__name__}: {error}")
                outcomes.append(self._wait(message, None, problem))
            else:
                alerts.append((message, alert))
        alerts.sort(key=lambda entry: (entry[1].dedup_key, _position(entry[1])))
        for i, (message, alert) in enumerate(alerts):
            if i > 0 and not has_time():
                outcomes.append(self._wait(message, alert, Delivery(failure=PageFailure.OUT_OF_TIME)))
            else:
                outcomes.append(self._deliver(message, alert))
        return outcomes

    def _deliver(self, message: PageMessage, alert: Alert) -> PageOutcome:
        key, position = alert.dedup_key, _position(alert)
        if self._ledger.is_superseded(key, position):
            self._ledger.note_done(key, position, delivered=False)
            return PageOutcome(message=message, result=PageResult.SUPERSEDED, alert=alert)
        if message.receive_count <= self._hold_attempts and self._ledger.has_earlier_waiting(key, position):
            return self._wait(message, alert, Delivery(failure=PageFailure.HELD_BACK))
        delivery = self._pager.page(alert)
        if delivery is None:
            return PageOutcome(message=message, result=PageResult.IGNORED, alert=alert)
        if delivery.failure is not None and delivery.failure not in PERMANENT_FAILURES:
            return self._wait(message, alert, delivery)
        self._ledger.note_done(key, position, delivered=delivery.failure is None)
        result = PageResult.DELIVERED if delivery.failure is None else PageResult.REFUSED
        return PageOutcome(message=message, result=result, alert=alert, delivery=delivery)

    def _wait(self, message: PageMessage, alert: Alert | None, delivery: Delivery) -> PageOutcome:
        if alert is not None:
            self._ledger.note_waiting(alert.dedup_key, _position(alert))
        delay_s = backoff_s(
            message.receive_count,
            base_s=self._retry_base_s,
            random=self._random(),
            retry_after_s=delivery.retry_after_s,
        )
        self._queue.delay(message.receipt_handle, delay_s)
        return PageOutcome(message=message, result=PageResult.WAITING, alert=alert, delivery=delivery, delay_s=delay_s)


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
    texts = (alert.dedup_key, alert.incident_id)
    if not all(isinstance(text, str) for text in texts) or not isinstance(alert.sequence, int):
        raise TypeError(f"dedup_key, incident_id and sequence: {texts!r} {alert.sequence!r}")


def _position(alert: Alert) -> Position:
    """Where an event stands among those of one dedup key: by when its incident opened, then by its sequence."""
    opened = alert.incident_id.rpartition("/")[2]
    return opened, alert.sequence
