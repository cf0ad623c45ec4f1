"""From what was kept of a history to the forest's rows: expectations are chosen, peers and relations learned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.prepare import expectations
from training.prepare.kept import Kept
from training.prepare.sampling import Rows
from training.processes import Progress
from treeline.core.arrays import together
from treeline.core.channels import registry
from treeline.core.channels.relation import LIMIT, Relation
from treeline.core.detection.features import LARGEST_FEATURE
from treeline.core.expectation import peers, relation
from treeline.core.state.fleet import FleetState

SMALLEST_SUSTAINED_SD = 0.05
PEER_MEAN_S = 900.0  # servers are found to be peers by what they do in quarter hours


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """What was kept, held against the expectation that was chosen; NaN where absent, 0 where a metric is missing."""

    times_ms: npt.NDArray[np.int64]
    residuals: Rows  # (times, servers, metrics), in each metric's residual scale
    sds: Rows  # (times, servers, metrics), the expectation's standard deviation in that scale
    magnitudes: Rows  # (times, servers, channels)
    learned: npt.NDArray[np.bool_]  # which of them are learned from, shape (times, servers)
    held_out: npt.NDArray[np.bool_]  # which of them are kept apart to find thresholds on

    @classmethod
    def together(cls, parts: "Sequence[ChosenRows]") -> "ChosenRows":
        """Of neighbouring servers' parts in order; each may have times at which only its own servers were there."""
        if len(parts) == 1:
            return parts[0]
        times = np.unique(np.concatenate([part.times_ms for part in parts]))
        whole = dict[str, npt.NDArray[Any]]()
        for name in ("residuals", "sds", "magnitudes", "learned", "held_out"):
            arrays = [getattr(part, name) for part in parts]
            width = sum(array.shape[1] for array in arrays)
            blank = np.nan if arrays[0].dtype == np.float32 else False
            whole[name] = joined = np.full((len(times), width, *arrays[0].shape[2:]), blank, dtype=arrays[0].dtype)
            first = 0
            for part, array in zip(parts, arrays, strict=True):
                last = first + array.shape[1]
                joined[np.searchsorted(times, part.times_ms), first:last] = array
                first = last
        return cls(times, **whole)


def chosen(state: FleetState, kept: Kept, *, step_s: float) -> ChosenRows:
    """Choose each server's expectations; fills its rows of the state."""
    present = ~np.isnan(kept.magnitudes[..., 0])
    residuals, sds = (np.full(kept.sds[:, :, 0].shape, np.nan, dtype=np.float32) for _ in range(2))
    learned, held_out = np.zeros_like(present), np.zeros_like(present)
    for server in range(present.shape[1]):
        own = np.flatnonzero(present[:, server])
        if not len(own):
            continue
        residuals[own, server], sds[own, server] = expectations.choose(
            state, server, kept.deviations[own, server], kept.sds[own, server], step_s
        )
        first, second = expectations.warm_up(len(own), step_s), expectations.held_out(len(own), step_s)
        learned[own[first:second], server] = held_out[own[second:], server] = True
    return ChosenRows(kept.times_ms, residuals, sds, kept.magnitudes, learned, held_out)


def related(
    state: FleetState, past: ChosenRows, *, groups: Mapping[str, int], step_s: float, progress: Progress
) -> Rows:
    """Learn peers and relations and run them over the past: the forest's rows (times, servers, features).

    Args:
        state: Of all servers; changed in place.
        past: Its residuals lose what peers have in common, and its magnitudes get the relation channel's.
        groups: By server: the group in which it is decided, whose servers alone can be peers.
        step_s: The sampling step.
        progress: Told how far it is.
    """
    residuals, present = past.residuals, ~np.isnan(past.magnitudes[..., 0])
    metrics = residuals.shape[-1]
    _find_peers(state, past, groups, step_s)
    buckets = past.times_ms // round(step_s * 1000)

    def run(what: str, step: Callable[[int, npt.NDArray[np.intp]], None]) -> None:
        for t in range(len(present)):
            here = np.flatnonzero(present[t])
            if len(here):
                step(t, here)
            if t % 500 == 0:
                progress(what, t / len(present))

    def take_off(t: int, here: npt.NDArray[np.intp]) -> None:
        at, bucket = together(here), int(buckets[t])
        shared = peers.common(state, at, bucket)
        peers.remember(state, at, bucket, residuals[t, at], step_s)
        residuals[t, at] -= shared

    run("peers", take_off)
    for server in range(len(state.servers)):
        expectations.relate(state, server, residuals[past.learned[:, server], server])
    rows = np.full((*present.shape, 2 * metrics), np.nan, dtype=np.float32)
    rows[..., metrics:] = residuals / past.sds
    aged = np.full(len(state.servers), step_s, dtype=np.float32)
    state.relation_sd[:] = 1.0

    def relate(t: int, here: npt.NDArray[np.intp]) -> None:
        at = together(here)
        now = relation.relate(state, at, residuals[t, at])
        relation.learn(state, at, now, aged[: len(here)])
        state.relation_recent[at] = now.window
        rows[t, at, :metrics] = now.sustained

    run("relations", relate)
    place = next(i for i, channel in enumerate(registry.CHANNELS) if isinstance(channel, Relation))
    for server in range(len(state.servers)):
        own = rows[past.learned[:, server], server, :metrics]
        sd = own.std(axis=0) if len(own) else np.zeros(metrics)
        state.relation_sd[server] = np.maximum(sd, SMALLEST_SUSTAINED_SD)
        sustained = rows[:, server, :metrics] / state.relation_sd[server]
        rows[:, server, :metrics] = sustained
        past.magnitudes[:, server, place] = np.sqrt(np.square(np.minimum(np.abs(sustained), LIMIT)).mean(axis=1))
    progress("relations", 1.0)
    return np.clip(rows, -LARGEST_FEATURE, LARGEST_FEATURE, out=rows)


def _find_peers(state: FleetState, past: ChosenRows, groups: Mapping[str, int], step_s: float) -> None:
    """Find each server's peers among its group, on what is learned from."""
    by_group: dict[int, list[int]] = {}
    for row, server in enumerate(state.servers):
        by_group.setdefault(groups[server], []).append(row)
    several = max(int(PEER_MEAN_S / step_s), 1)
    settled = np.flatnonzero(past.learned.any(axis=1) | past.held_out.any(axis=1))
    settled = settled[: len(settled) // several * several]
    for members in by_group.values():
        if len(members) <= peers.FEWEST or not len(settled):
            continue
        own = np.array(members)
        limit = peers.LARGEST_RESIDUAL
        values = np.nan_to_num(np.clip(past.residuals[np.ix_(settled, own)], -limit, limit))
        means = values.reshape(-1, several, *values.shape[1:]).mean(axis=1, dtype=np.float64).transpose(1, 0, 2)
        for metric in range(means.shape[-1]):
            rows, slopes = peers.choose(means, metric)
            state.peer_rows[own, metric] = np.where(rows == peers.NOBODY, peers.NOBODY, own[rows])
            state.peer_slope[own, metric] = slopes
