"""What a server's past says before its first new observation: its baseline, and averages consistent with it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from training.history.files import History
from training.history.grid import Grid
from training.history.resolution import Mixed, ResolvedSeries, mixed_baseline
from training.history.windows import server_grid
from training.prepare.source import HistorySource
from training.prepare.survey import Survey
from training.processes import Progress
from treeline.core.channels import registry, saturation
from treeline.core.detection.metric_warmup import FEWEST_VALUES, UNKNOWN
from treeline.core.detection.warmup import spread_floor
from treeline.core.expectation import local_time, rolling_limits
from treeline.core.limits import is_saturated
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import todays_layout
from treeline.core.statistics import FloatArray, standardize, within_reach


def seeded(
    source: HistorySource,
    survey: Survey | None,
    coarser: Mapping[int, History],
    rolling_window_s: float,
    progress: Progress,
) -> FleetState:
    """A state with every server's seeds; a server without two observations stays blank.

    The history is of the step that detection will run at; the survey says what to leave out of it. `coarser` has the
    same servers' earlier months by period in seconds; they widen the baselines.
    """
    layout = todays_layout(rolling_window_s, rolling_limits.parts_for(len(source.metrics)))
    state = FleetState(len(source.metrics), servers=list(source.servers), layout=layout)
    for row, server in enumerate(source.servers):
        grids: dict[float, Grid] = {source.step_s: source.of_server(row)}
        grids |= {s: server_grid(other, server, float(s)) for s, other in coarser.items() if server in other.rows}
        if survey is not None:
            grids = {period_s: survey.without(grid) for period_s, grid in grids.items()}
        own = grids[source.step_s]
        series = {period_s: ResolvedSeries(grid.times_ms, grid.values[:, 0]) for period_s, grid in grids.items()}
        seed_server(state, row, series[source.step_s].values, mixed_baseline(series))
        saturated = is_saturated(own.values[:, 0], own.limits)
        zones = np.repeat(source.zones.of([server]), len(own.times_ms))
        local_ms = own.times_ms + 1000 * local_time.offsets_s(zones, own.times_ms).astype(np.int64)
        state.saturated_hours[row] = saturation.usual_hours(local_ms, saturated)
        progress("baselines", (row + 1) / len(source.servers))
    return state


def seed_server(state: FleetState, row: int, values: FloatArray, baseline: Mixed) -> None:
    """Fill a state's row from a server's own values (n, metrics) at the step that detection will run at.

    The baseline may come from more than these values; the averages are those of the values against it.
    """
    data = values.astype(np.float64)
    data = data[~np.isnan(data).all(axis=1)]
    if len(data) < 2:
        return
    mean, spread = baseline.mean, spread_floor(baseline.sd, baseline.value_range, baseline.mean)
    x = standardize(within_reach(data), mean, spread)
    x = np.where(np.isnan(x), 0.0, x)
    unknown = _hardly_seen(data)
    state.base_mean[row], state.base_spread[row] = np.where(unknown, 0.0, mean), np.where(unknown, UNKNOWN, spread)
    for channel in registry.CHANNELS:
        for name, value in channel.seeds(x).items():
            getattr(state, name)[row] = value
    state.day_mean[row] = 0.0
    state.day_var[row] = np.where(unknown, 0.0, x.std(axis=0) ** 2)
    state.trailing_mean[row], state.trailing_var[row] = state.day_mean[row], state.day_var[row]
    state.trend_mean[row], state.season_square[row] = 0.0, x.std(axis=0) ** 2
    state.phase[row] = Phase.READY


def _hardly_seen(data: FloatArray) -> npt.NDArray[np.bool_]:
    """Columns with too few values for a baseline: such a metric warms up when it comes."""
    values = (~np.isnan(data)).sum(axis=0)
    return np.asarray(values < min(FEWEST_VALUES, len(data) / 2))
