"""The traces of one server out of a run of the core."""

from report.data import ServerTrace
from training.evaluate.backtest import Trace
from training.history.grid import Grid
from treeline.core.evidence import BAND_SD


def server_trace(grid: Grid, trace: Trace, column: int) -> ServerTrace:
    """What is drawn of the server in `column`: its values, what was expected of them, and how it was scored."""
    expected = low = high = None
    if trace.expected is not None and trace.spread is not None:
        expected, spread = trace.expected[:, column], trace.spread[:, column]
        low, high = expected - BAND_SD * spread, expected + BAND_SD * spread
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
