"""From what was kept of a history to the forest's rows: expectations are chosen, relations learned and run over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.prepare import expectations
from training.prepare.kept import Kept
from training.prepare.sampling import Rows
from training.processes import Progress
from treeline.core.channels import registry
from treeline.core.channels.relation import Relation
from treeline.core.detection.features import LARGEST_FEATURE
from treeline.core.expectation import relation
from treeline.core.state.fleet import FleetState

SMALLEST_SUSTAINED_SD = 0.05


@dataclass(frozen=True, slots=True)
class RelatedRows:
    """The forest's rows (times, servers, features) of what was kept, NaN where absent, and the channels' magnitudes."""

    times_ms: npt.NDArray[np.int64]
    rows: Rows
    magnitudes: Rows
    learned: npt.NDArray[np.bool_]  # which of them were learned from, shape (times, servers)
    held_out: npt.NDArray[np.bool_]  # which of them were kept apart to find thresholds on

    @classmethod
    def together(cls, parts: "Sequence[RelatedRows]") -> "RelatedRows":
        """Of neighbouring servers' parts in order; each may have times at which only its own servers were there."""
        times = np.unique(np.concatenate([part.times_ms for part in parts]))
        names = ("rows", "magnitudes", "learned", "held_out")
        whole = dict[str, npt.NDArray[Any]]()
        for name in names:
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


# long: one server after the other, then one time after the other
def related(state: FleetState, kept: Kept, *, step_s: float, progress: Progress) -> RelatedRows:
    """Choose expectations, learn relations, and run them over what was kept; changes the state."""
    present = ~np.isnan(kept.magnitudes[..., 0])
    times, servers = present.shape
    metrics = kept.deviations.shape[-1]
    rows = np.full((times, servers, 2 * metrics), np.nan, dtype=np.float32)
    learned, held_out = np.zeros_like(present), np.zeros_like(present)
    for server in range(servers):
        own = np.flatnonzero(present[:, server])
        if not len(own):
            continue
        chosen = expectations.choose(state, server, kept.deviations[own, server], kept.sds[own, server], step_s)
        expectations.relate(state, server, chosen[:, 0], step_s)
        rows[own, server, :metrics], rows[own, server, metrics:] = chosen[:, 0], chosen[:, 1]
        first, second = expectations.warm_up(len(own), step_s), expectations.held_out(len(own), step_s)
        learned[own[first:second], server] = held_out[own[second:], server] = True
    state.relation_sd[:] = 1.0
    for t in range(times):
        here = np.flatnonzero(present[t])
        if len(here):
            now = relation.relate(state, here, rows[t, here, :metrics])
            relation.learn(state, here, now, np.full(len(here), step_s, dtype=np.float32))
            state.relation_recent[here] = now.window
            rows[t, here, :metrics] = now.sustained
        if t % 500 == 0:
            progress("relations", t / times)
    progress("relations", 1.0)
    place = next(i for i, channel in enumerate(registry.CHANNELS) if isinstance(channel, Relation))
    for server in range(servers):
        own = rows[learned[:, server], server, :metrics]
        sd = own.std(axis=0) if len(own) else np.zeros(metrics)
        state.relation_sd[server] = np.maximum(sd, SMALLEST_SUSTAINED_SD)
        sustained = np.clip(rows[:, server, :metrics] / state.relation_sd[server], -30.0, 30.0)
        rows[:, server, :metrics] = sustained
        kept.magnitudes[:, server, place] = np.sqrt(np.square(np.minimum(np.abs(sustained), 15.0)).mean(axis=1))
    np.clip(rows, -LARGEST_FEATURE, LARGEST_FEATURE, out=rows)
    return RelatedRows(kept.times_ms, rows, kept.magnitudes, learned, held_out)
