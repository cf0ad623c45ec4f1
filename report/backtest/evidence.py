"""Why a server paged in a backtest, and which metrics stood where: for a terminal, for JSON and for the report."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from report.traces import DECLARED
from training.evaluate.backtest import Backtest, Trace
from training.history.grid import Grid
from treeline.core.alert import MetricEvidence
from treeline.core.channels import registry
from treeline.core.detection.evidence import metric_evidence
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY
from treeline.core.times import iso
from treeline.core.wording import moved

EVIDENCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidingChannel:
    """The channel that gave the deciding observation its severity."""

    name: str
    measure: float  # in the channel's standard deviations
    priority: str  # the page's, at first
    threshold: float  # of that priority, on the measure's scale

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.name} {self.measure:.1f}, {self.priority} {_SIGNS[self.priority]} {self.threshold:.1f}"


_SIGNS = {"P1": "above", "P2": "from"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCause:
    """Why a server paged.

    The deciding observation may be normal again: a spike pages by the observations before it. The metrics are therefore
    those of the counted observation that has the metric farthest from its expected value.
    """

    channel: DecidingChannel | None  # None: the fleet as such, which is judged by its servers' severities
    metrics: tuple[MetricEvidence, ...]  # those outside a band first, the farthest of them at the top
    metrics_at_ms: int | None  # event time of that observation; None without metrics

    def __str__(self) -> str:
        """As people read it."""
        parts = [] if self.channel is None else [str(self.channel)]
        if self.metrics and self.metrics_at_ms is not None:
            parts.append(f"{moved(self.metrics[0])}, at {iso(self.metrics_at_ms)[11:16]}Z")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "channel": None if self.channel is None else asdict(self.channel),
            "metrics": [asdict(metric) for metric in self.metrics],
            "metrics_at": None if self.metrics_at_ms is None else iso(self.metrics_at_ms),
        }


def page_cause(grid: Grid, detected: Backtest, server: str, at_ms: int, priority: str) -> PageCause:
    """Why a server paged at a time.

    Args:
        grid: What was measured.
        detected: What detection made of it; without bands there are no metrics.
        server: Whose page; the fleet as such has no cause but its servers'.
        at_ms: Event time of the deciding observation.
        priority: At which it paged then, P1 or P2.
    """
    if server not in grid.servers:
        return PageCause(channel=None, metrics=(), metrics_at_ms=None)
    row, column = int(np.searchsorted(grid.times_ms, at_ms)), grid.servers.index(server)
    rows = _counted(detected, row, column, priority)
    place = farthest(grid, detected.trace, column, rows)
    return PageCause(
        channel=_deciding_channel(detected, row, column, priority),
        metrics=() if place is None else evidence_at(grid, detected.trace, column, int(rows[place])),
        metrics_at_ms=None if place is None else int(grid.times_ms[rows[place]]),
    )


def evidence_at(grid: Grid, trace: Trace, column: int, row: int) -> tuple[MetricEvidence, ...]:
    """The measured metrics of one observation, those outside a band first.

    Args:
        grid: What was measured.
        trace: What detection saw; without bands there is no evidence.
        column: The server's in the grid.
        row: The observation's.
    """
    if trace.bands is None:
        return ()
    found = metric_evidence(grid.metrics, grid.values[row, column], trace.bands.at((row, column)), DECLARED)
    return tuple(metric for metric in found if metric.measured is not None)[:EVIDENCE]


def farthest(grid: Grid, trace: Trace, column: int, rows: npt.NDArray[np.intp] | slice) -> int | None:
    """Which of some observations has the metric that is farthest from its expected value.

    Args:
        grid: What was measured.
        trace: What detection saw.
        column: The server's in the grid.
        rows: The observations'.

    Returns:
        A position among `rows`; None where there is no metric with an expected value.
    """
    if trace.bands is None:
        return None
    deviation = trace.bands.at((rows, column)).deviation(grid.values[rows, column])
    if np.isnan(deviation).all():
        return None
    return int(np.unravel_index(np.nanargmax(deviation), deviation.shape)[0])


def _counted(detected: Backtest, row: int, column: int, priority: str) -> npt.NDArray[np.intp]:
    """The observations by which the persistence rule was met, the deciding one last."""
    severity = detected.trace.severity[: row + 1, column]
    last = np.flatnonzero(~np.isnan(severity))[-detected.policy.of_last :]
    reached = severity[last] > P1_SEVERITY if priority == "P1" else severity[last] >= P2_SEVERITY
    counted: npt.NDArray[np.intp] = last[reached | (last == row)]
    return counted


def _deciding_channel(detected: Backtest, row: int, column: int, priority: str) -> DecidingChannel | None:
    trace = detected.trace
    if trace.channel is None or trace.measure is None or trace.channel[row, column] < 0:
        return None
    name = registry.every_channel()[int(trace.channel[row, column])].name
    thresholds = detected.calibration[name]
    return DecidingChannel(
        name=name,
        measure=float(trace.measure[row, column]),
        priority=priority,
        threshold=thresholds.p1 if priority == "P1" else thresholds.p2,
    )
