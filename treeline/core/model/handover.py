"""Handing a group over from one model to the next: what a detector state keeps, and what the new model brings.

Incidents, persistence and the times seen stay. So do the trailing averages, converted to the new baselines: filling
them again would take days. A rolling window stays where both models have one of the same length
in as many parts, and else begins empty.
What training measures comes from the new model: which expectation a metric has, the seasonal table, the relation
between the metrics, the usual scores. How rare the server's own peaks were stays as well, so that a promotion neither
opens nor silences anything.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from treeline.core.arrays import NEVER, Axis, Home
from treeline.core.channels import novelty, registry
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.expectation import expectation, peers, relation, rolling
from treeline.core.model.package import ModelPackage
from treeline.core.severity import Thresholds
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import Layout, todays_layout
from treeline.core.statistics import Z_LIMIT

# The candidate's own windows are used where it last decided the server no longer than this before the champion did.
FRESH_MS = 3_600_000
_LEVELS = ("recent", "day_mean", "trailing_mean", "trend_mean", "mean10_mean")
_VARIANCES = ("day_var", "trailing_var", "mean10_var", "change_var")
_CHANNELS = ("channel_mean", "channel_var")
_SCORES = ("score_mean", "score_var", "score_excess")
_PEAKS = tuple(spec.name for spec in novelty.ARRAYS)
_MODEL = (
    *("base_mean", "base_spread", "channel_floor", "channel_gated", "saturated_hours"),
    *("tail_start", "tail_scale", "mean10_floor", "change_floor"),
    *(
        spec.name
        for spec in (*expectation.ARRAYS, *peers.ARRAYS, *relation.ARRAYS)
        if spec.name not in (*_LEVELS, *_VARIANCES)
    ),
)
# By metric, of those above; the relation is of several metrics, and the table is the new model's.
_OF_METRICS = tuple(
    spec.name
    for spec in todays_layout().only(Home.STATE).arrays
    if spec.axes[-1:] == (Axis.METRICS,) and spec.name in (*_MODEL, *_LEVELS, *_VARIANCES)
)
_OF_THE_PACKAGE = {spec.name for spec in todays_layout().at_home(Home.PACKAGE)}
Row = dict[str, Any]  # one server's values by name
_OWN = (*_MODEL, *_LEVELS, *_VARIANCES, *_CHANNELS, *_SCORES, *_PEAKS)


def hand_over(
    package: ModelPackage,
    source: FleetState,
    *,
    calibration: Calibration | None,
    own: FleetState | None = None,
    servers: Sequence[str] | None = None,
) -> FleetState:
    """The state in which the package's model goes on where another one stopped.

    Args:
        package: The new model.
        source: The old model's state of the group.
        calibration: The old model's; None where its package is gone: the servers' own peaks are then forgotten.
        own: What the new model already knows of some of its servers, from a canary.
        servers: Take only these; all when None.

    Returns:
        A new state of version `own.version` (0 without one); no argument is changed.
    """
    chosen = source.servers if servers is None else [s for s in source.servers if s in set(servers)]
    package.fetch(chosen)
    rows, seeds = source.rows(), package.seeds.rows()
    source = _on_the_scale_of(package.calibration, source, calibration)
    own_rows = {} if own is None else own.rows()
    is_same_shape = source.metrics == len(package.metrics)
    state = package.new_state()
    state.add(list(chosen))
    state.cycle = replace(source.cycle)
    state.version = own.version if own is not None else 0
    for row, server in enumerate(chosen):
        old: Row = source.row_values(rows[server])
        if source.is_retired[rows[server]]:
            package.begin_anew(state, row)
            state.set_row(row, {name: old[name] for name in ("retired_at", "opened_at")})
            continue
        old["is_unmet"] = 0  # one that came back is what the new model has learned under its name
        if not _have_alike_windows(source.layout, state.layout):
            old = {name: value for name, value in old.items() if name not in rolling.NAMES}
        if not is_same_shape:
            seed: Row = package.seeds.row_values(seeds[server]) if server in seeds else dict(package.typical)
            old = {name: value for name, value in old.items() if name not in (*_OWN, *rolling.NAMES)} | {
                name: seed[name] for name in seed if name in _OWN or name == "phase"
            }
            if server not in seeds:
                old |= {"phase": Phase.WARMING_UP, "observations": 0}
        elif own is not None and server in own_rows and _is_fresh(own, own_rows[server], old):
            mine = own.row_values(own_rows[server])
            old |= {name: mine[name] for name in (*_OWN, *rolling.NAMES, "phase") if name in mine}
        elif server in seeds:
            old |= _converted(package.seeds.row_values(seeds[server]), old)
        else:
            old |= {name: package.typical[name] for name in _SCORES if name in package.typical}
        # Of a server that the new model has not met nothing of the old package stays: peers are rows of another state.
        state.set_row(row, {name: value for name, value in old.items() if name not in _OF_THE_PACKAGE})
    package.attach(state, Home.PACKAGE, Home.TABLE)
    return state


def _have_alike_windows(one: Layout, other: Layout) -> bool:
    return (one.rolling_window_s, one.rolling_parts) == (other.rolling_window_s, other.rolling_parts)


def _is_fresh(own: FleetState, row: int, old: Row) -> bool:
    return int(own.last_at[row]) >= int(old["last_at"]) - FRESH_MS and int(own.phase[row]) == Phase.READY


def _on_the_scale_of(new: Calibration, source: FleetState, old: Calibration | None) -> FleetState:
    """The state with each channel's peaks in the measures that are as rare under the new calibration."""
    scaled = source.copy()
    if old is None:
        scaled.peak[:] = scaled.peak_hours[:] = novelty.LEAST
        return scaled
    for place, channel in enumerate(registry.every_channel()):
        before, after = old[channel.name], new[channel.name]
        for array in (scaled.peak, scaled.peak_hours):
            peak = array[..., place]
            decades = (peak - before.p2) / _decade(before)
            array[..., place] = np.where(peak > novelty.LEAST, after.p2 + decades * _decade(after), peak)
    return scaled


def _decade(thresholds: Thresholds) -> float:
    """What a decade of rarity is; where that is not known, the distance of the tiers stands for it."""
    return thresholds.decade or thresholds.p1 - thresholds.p2


def _converted(seed: Row, old: Row) -> Row:
    """The values the new model gives a server it was trained on."""
    if int(old["phase"]) != Phase.READY:  # it was still warming up; the new model has met it
        return {name: seed[name] for name in (*_OWN, "phase")}
    seed_spread = np.where(seed["base_spread"] == UNKNOWN, 1.0, seed["base_spread"])  # see _newly_known
    ratio = (old["base_spread"] / seed_spread).astype(np.float64)
    offset = (old["base_mean"].astype(np.float64) - seed["base_mean"]) / seed_spread
    kept = np.array([channel.is_free_of_model for channel in registry.CHANNELS])
    values = {name: seed[name] for name in (*_MODEL, *_SCORES)}
    values |= {name: old[name] * ratio + offset for name in _LEVELS}
    values |= {name: old[name] * ratio**2 for name in _VARIANCES}
    values |= rolling.rescaled(old, ratio, offset)
    values["recent"] = np.clip(values["recent"], -Z_LIMIT, Z_LIMIT)
    values |= {name: np.where(kept, old[name], seed[name]) for name in _CHANNELS}
    values["slot"] = np.asarray(
        NEVER
    )  # what gathered is dropped; the new model's table is read at the next observation
    return values | _newly_known(seed, old, values)


def _newly_known(seed: Row, old: Row, values: Row) -> Row:
    """A metric for which only one of the models has a baseline: its values come from that model."""
    unknown = (seed["base_spread"] == UNKNOWN) | (old["base_spread"] == UNKNOWN)
    is_old = seed["base_spread"] == UNKNOWN  # also where neither has
    of_metrics = {n: np.where(unknown, np.where(is_old, old[n], seed[n]), values[n]) for n in _OF_METRICS}
    window = {n: np.where(is_old, old[n], values[n]) for n in rolling.NAMES if n in values}
    return of_metrics | window | {n: np.where(unknown & ~is_old, 0, old[n]) for n in rolling.COUNTS if n in old}
