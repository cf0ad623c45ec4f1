"""Handing a group over from one model to the next: what a detector state keeps, and what the new model brings.

Incidents, persistence and the times seen stay. So do the trailing windows, converted to the new baselines: filling them
again would take days. What concerns the forest's scores comes from the new model, shifted by how far the server's
scores were from usual under the old one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from treeline.core.channels import registry
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.statistics import Z_LIMIT

# The candidate's own windows are used where it last decided the server no longer than this before the champion did.
FRESH_MS = 3_600_000
_MODEL = ("base_mean", "base_spread", "view_floor", "tail_start", "tail_scale", "channel_floor", "channel_gated")
_WINDOWS = (*("view_mean", "view_var", "recent", "day_mean", "day_var"), *("change_var", "channel_mean", "channel_var"))
_SCORES = ("score_slots", "score_mean", "score_var", "residual_sd")
Row = dict[str, Any]  # one server's values by name
_OWN = (*_MODEL, *_WINDOWS, *_SCORES, "score_slot")


def hand_over(
    package: ModelPackage, source: FleetState, *, own: FleetState | None = None, servers: Sequence[str] | None = None
) -> FleetState:
    """The state in which the package's model goes on where another one stopped.

    Args:
        package: The new model.
        source: The old model's state of the group.
        own: What the new model already knows of some of its servers, from a canary.
        servers: Take only these; all when None.

    Returns:
        A new state of version `own.version` (0 without one); no argument is changed.
    """
    chosen = source.servers if servers is None else [s for s in source.servers if s in set(servers)]
    rows, seeds = source.rows(), package.seeds.rows()
    own_rows = {} if own is None else own.rows()
    is_same_shape = source.metrics == len(package.metrics)
    state = package.new_state()
    state.add(list(chosen))
    state.cycle = replace(source.cycle)
    state.version = own.version if own is not None else 0
    for row, server in enumerate(chosen):
        old: Row = source.row_values(rows[server])
        if not is_same_shape:
            seed: Row = package.seeds.row_values(seeds[server]) if server in seeds else dict(package.typical)
            old = {name: value for name, value in old.items() if name not in _OWN} | {
                name: seed[name] for name in seed if name in _OWN or name == "phase"
            }
            if server not in seeds:
                old |= {"phase": Phase.WARMING_UP, "observations": 0}
        elif own is not None and server in own_rows and _is_fresh(own, own_rows[server], old):
            mine = own.row_values(own_rows[server])
            old |= {name: mine[name] for name in (*_OWN, "phase")}
        elif server in seeds:
            old |= _converted(package.seeds.row_values(seeds[server]), old)
        else:
            old |= _rescored({name: np.asarray(value, np.float32) for name, value in package.typical.items()}, old)
        state.set_row(row, old)
    return state


def _is_fresh(own: FleetState, row: int, old: Row) -> bool:
    return int(own.last_at[row]) >= int(old["last_at"]) - FRESH_MS and int(own.phase[row]) == Phase.READY


def _converted(seed: Row, old: Row) -> Row:
    """The values the new model gives a server it was trained on."""
    if int(old["phase"]) != Phase.READY:  # it was still warming up; the new model has met it
        return {name: seed[name] for name in (*_OWN, "phase")}
    seed_spread = np.where(seed["base_spread"] == UNKNOWN, 1.0, seed["base_spread"])  # see _newly_known
    ratio = (old["base_spread"] / seed_spread).astype(np.float64)
    offset = (old["base_mean"].astype(np.float64) - seed["base_mean"]) / seed_spread
    moved = np.stack([offset, offset, np.zeros_like(offset)])  # a difference has no level
    kept = np.array([channel.is_free_of_model for channel in registry.CHANNELS])
    values = {name: seed[name] for name in _MODEL}
    values |= {
        "recent": np.clip(old["recent"] * ratio + offset, -Z_LIMIT, Z_LIMIT),
        "view_mean": old["view_mean"] * ratio + moved,
        "view_var": old["view_var"] * ratio**2,
        "day_mean": old["day_mean"] * ratio + offset,
        "day_var": old["day_var"] * ratio**2,
        "change_var": old["change_var"] * ratio**2,
        "channel_mean": np.where(kept, old["channel_mean"], seed["channel_mean"]),
        "channel_var": np.where(kept, old["channel_var"], seed["channel_var"]),
    }
    return values | _newly_known(seed, old, values) | _rescored(seed, old)


def _newly_known(seed: Row, old: Row, values: Row) -> Row:
    """A metric for which only one of the models has a baseline: all its values come from that model."""
    unknown = (seed["base_spread"] == UNKNOWN) | (old["base_spread"] == UNKNOWN)
    is_old = seed["base_spread"] == UNKNOWN  # also where neither has
    names = [n for n in (*_MODEL, *_WINDOWS) if not n.startswith("channel")]
    return {n: np.where(unknown, np.where(is_old, old[n], seed[n]), values[n]) for n in names}


def _rescored(seed: Row, old: Row) -> Row:
    """The scores' window: as far from the new mean in the new spread as it was from the old mean in the old one."""
    sd = max(float(np.sqrt(old["score_var"])), 1e-6)
    standing = (old["score_slots"].astype(np.float64) - float(old["score_mean"])) / sd
    return {
        "score_slots": float(seed["score_mean"]) + standing * float(np.sqrt(seed["score_var"])),
        "score_mean": seed["score_mean"],
        "score_var": seed["score_var"],
        "residual_sd": seed["residual_sd"],
    }
