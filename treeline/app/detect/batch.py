"""A batch of ticks: each group is run once; a tick that failed returns to the queue and comes back soon."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from treeline.app.detect.reporting import report
from treeline.app.detect.service import TickOutcome
from treeline.app.detect.ticks import Tick, TickCause
from treeline.app.messages import MessageDelay, QueueMessage
from treeline.app.metrics import OwnMetric
from treeline.app.telemetry import Telemetry
from treeline.core.errors import MalformedRecordError, ScorerUnavailableError, StateConflictError, TreelineError

_Asked = tuple[QueueMessage, Tick]


class TickService(Protocol):
    """The use case: one group's tick."""

    def run(self, tick: Tick, outcome: TickOutcome | None = None, *, until_ms: int | None = None) -> TickOutcome:
        """See `DetectService.run`."""

    def has_read(self, group: int, *, asked_ms: int, since_ms: int) -> bool:
        """See `DetectService.has_read`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickBatch:
    """Works through batches of ticks."""

    service: TickService
    queue: MessageDelay
    telemetry: Telemetry
    retry_s: float  # about how long a tick that failed stays away
    # Gives a number in [0, 1), so that groups that failed together do not come back together.
    random: Callable[[], float]
    adapter_errors: tuple[type[Exception], ...] = ()  # what the service's adapters raise besides our own errors

    def run(self, messages: Sequence[QueueMessage], *, until_ms: int) -> list[str]:
        """Run every group that the batch names once.

        Args:
            messages: A batch of the queue, in any order. One that is no tick fails alone.
            until_ms: When to leave what a group still has waiting to its next tick.

        Returns:
            Ids of the messages that have to be delivered again.
        """
        groups, failed = self._by_group(messages)
        is_scorer_down = False
        for group, asked in sorted(groups.items()):
            # The scorer serves all groups: to ask it again for each would only use up our time.
            failure = OwnMetric.ScorerUnavailable if is_scorer_down else self._run_group(group, asked, until_ms)
            is_scorer_down = failure is OwnMetric.ScorerUnavailable
            if failure is not None:
                failed += [self._put_back(message) for message, _ in asked]
        return failed

    def _by_group(self, messages: Sequence[QueueMessage]) -> tuple[dict[int, list[_Asked]], list[str]]:
        """The ticks of each group, and the ids of messages that are no tick: SQS moves those to the dead letters."""
        groups: dict[int, list[_Asked]] = defaultdict(list)
        unreadable: list[str] = []
        for message in messages:
            try:
                tick = Tick.from_body(message.body)
            except MalformedRecordError as error:
                self.telemetry.logger.error("tick is not readable", error=str(error), body=message.body[:200])
                unreadable.append(message.message_id)
            else:
                groups[tick.group].append((message, tick))
        return groups, unreadable

    def _run_group(self, group: int, asked: Sequence[_Asked], until_ms: int) -> OwnMetric | None:
        """Run one group's ticks as one. Returns the metric of what went wrong, None where nothing did."""
        started, outcome, failure = time.perf_counter(), TickOutcome(), None
        log = self.telemetry.logger
        errors: tuple[type[Exception], ...] = (TreelineError, *self.adapter_errors)
        try:
            self.service.run(self._merged(group, asked), outcome, until_ms=until_ms)
        except ScorerUnavailableError as error:
            failure = OwnMetric.ScorerUnavailable
            log.warning("scorer unavailable, tick returns", group=group, error=str(error))
        except StateConflictError as error:
            failure = OwnMetric.StateConflicts
            log.warning("group is contended, tick returns", group=group, error=str(error))
        except errors:
            # Loud, but alone: what is wrong with one group must not keep the others of the batch waiting.
            failure = OwnMetric.TickFailures
            log.exception("tick failed", group=group)
        if failure is not None:
            self.telemetry.add(failure)
        if failure is None or outcome.commits or outcome.published:  # what an error ended has still been done
            report(self.telemetry, group, outcome, duration_ms=1000.0 * (time.perf_counter() - started))
        return failure

    def _merged(self, group: int, asked: Sequence[_Asked]) -> Tick:
        """One tick instead of all of a group's, from the oldest start that has not been read yet."""
        starts = [
            tick.since_ms
            for message, tick in asked
            if tick.since_ms is not None and not self._has_read(message, tick.group, tick.since_ms)
        ]
        causes = [tick.cause for _, tick in asked if tick.is_sweep]
        return Tick(group, min(starts, default=None), causes[0] if causes else TickCause.OBSERVATIONS)

    def _has_read(self, message: QueueMessage, group: int, since_ms: int) -> bool:
        """Whether this worker has read what the tick asks for; False where nobody says when it was sent."""
        asked_ms = message.sent_at_ms
        return asked_ms is not None and self.service.has_read(group, asked_ms=asked_ms, since_ms=since_ms)

    def _put_back(self, message: QueueMessage) -> str:
        self.queue.delay(message.receipt_handle, max(1, round(self.retry_s * (0.5 + self.random()))))
        return message.message_id
