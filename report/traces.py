"""The traces of one server out of a run of the core."""

from collections.abc import Sequence

import numpy as np

from report.data import ServerTrace
from training.evaluate.backtest import Trace
from training.history.grid import Grid
from treeline.core.detection.evidence import shown_band
from treeline.core.profile import DEFAULT_METRICS

DECLARED = {metric.name: metric for metric in DEFAULT_METRICS}
_NAMED = 5  # of the servers that a line is about


def server_trace(grid: Grid, trace: Trace, column: int) -> ServerTrace:
    """What is drawn of the server in `column`: its values, what was expected of them, and how it was scored."""
    expected = low = high = None
    if trace.bands is not None:
        bands = trace.bands.at(np.s_[:, column])
        expected, low, high = shown_band(bands.expected, bands.spread, grid.metrics, DECLARED)
    return ServerTrace(
        server_id=grid.servers[column],
        times_ms=grid.times_ms,
        values=grid.values[:, column],
        severity=trace.severity[:, column],
        score=trace.score[:, column],
        threshold=trace.threshold[:, column],
        expected=expected,
        low=low,
        high=high,
    )


def never_judged(grid: Grid, trace: Trace) -> tuple[str, ...]:
    """The servers that were observed, and warmed up for as long as that lasted: no observation of theirs was scored."""
    unscored = np.isnan(trace.severity).all(axis=0)
    return tuple(grid.servers[column] for column in np.flatnonzero(grid.present().any(axis=0) & unscored))


def never_judged_line(servers: Sequence[str]) -> str:
    """The same in a line; empty where there are none."""
    if not servers:
        return ""
    few, rest = servers[:_NAMED], len(servers) - _NAMED
    named = ", ".join(few) + (f" and {rest} more" if rest > 0 else "")
    subject = "1 server was" if len(servers) == 1 else f"{len(servers):,} servers were"
    return f"{subject} never judged: warming up ({named})"
