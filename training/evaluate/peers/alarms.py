"""Alarms as CloudWatch runs them: one on each series, each going off and ending by itself.

An alarm goes off when M of its last N datapoints breach, and is OK again as soon as fewer do. Missing datapoints are
passed over. Each time it goes off somebody is paged: nothing is held back until the series has been quiet for a while.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluate.peers.interface import Times
from treeline.core.alert import AlertEvent, Priority
from treeline.core.detection.policy import Change
from treeline.core.statistics import FloatArray

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """When a series goes into alarm.

    Attributes:
        p1: A datapoint above it breaches at P1.
        p2: A datapoint at or above it breaches at P2; None: the alarm knows P1 alone.
        datapoints_to_alarm, evaluation_periods: The M and the N of "M of the last N datapoints".
    """

    p1: float
    p2: float | None = None
    datapoints_to_alarm: int
    evaluation_periods: int

    def changes(self, row: int, times_ms: Times, values: FloatArray) -> Iterator[Change]:
        """Each time it goes off.

        Where both priorities go off in one episode the first P1 is the P2's escalation; a further P1 pages anew.

        Args:
            row: What the changes give as their server's row.
            times_ms: Increasing, shape (n,).
            values: Shape (n,), NaN where missing.
        """
        known = np.flatnonzero(~np.isnan(values))
        times, seen = times_ms[known], values[known]
        high = self._is_on(seen > self.p1)
        begun = _starts(high if self.p2 is None else self._is_on(seen >= self.p2))
        episode_is_p1 = high[begun]
        for i, is_p1 in zip(begun.tolist(), episode_is_p1.tolist(), strict=True):
            yield _change(row, times, seen, i, Priority.P1 if is_p1 else Priority.P2)
        later = np.setdiff1d(_starts(high), begun)
        episode = np.searchsorted(begun, later) - 1
        previous = np.concatenate([[-1], episode[:-1]])[: len(later)]
        for i, of, before in zip(later.tolist(), episode.tolist(), previous.tolist(), strict=True):
            escalates = of != before and not episode_is_p1[of]
            yield _change(row, times, seen, i, Priority.P1, escalates_from=int(begun[of]) if escalates else None)

    def _is_on(self, breaching: NDArray[np.bool_]) -> NDArray[np.bool_]:
        total = np.concatenate([[0], np.cumsum(breaching)])
        first = np.maximum(np.arange(1, len(total)) - self.evaluation_periods, 0)
        return np.asarray(total[1:] - total[first] >= self.datapoints_to_alarm)


def _starts(is_on: NDArray[np.bool_]) -> Positions:
    return np.flatnonzero(is_on & ~np.concatenate([[False], is_on[:-1]])[: len(is_on)])


def _change(
    row: int, times: Times, values: FloatArray, i: int, priority: Priority, *, escalates_from: int | None = None
) -> Change:
    at = int(times[i])
    opened_at = at if escalates_from is None else int(times[escalates_from])
    return Change(
        row=row,
        event=AlertEvent.OPENED if escalates_from is None else AlertEvent.ESCALATED,
        priority=priority,
        at=at,
        opened_at=opened_at,
        first_anomalous_at=opened_at,
        sequence=1 if escalates_from is None else 2,
        severity=float(values[i]),
    )
