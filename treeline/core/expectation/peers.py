"""What a server's peers do too: servers of one group whose metrics usually move together.

Servers behind one load balancer share their load. What the ten best correlated peers of a metric have in common, over
the last five minutes, is taken off a server's residual by as much as the metric usually follows them. Only what peers
did in earlier steps counts, so that the order in which servers are decided changes nothing.
"""

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import NEVER, ArraySpec, Axis, Home, Rows, State
from treeline.core.statistics import FloatArray, clip

PEERS, FEWEST = 10, 5
LEAST_CORRELATION = 0.25
LARGEST_SLOPE = 1.5
WINDOW_S = 300.0
LARGEST_RESIDUAL = 8.0  # one peer's outage must not move the others' expectation far
STALE_STEPS = 10  # a peer that has been silent for longer has nothing in common any more
NOBODY = -1
_ABSENT = np.float32(np.inf)  # in place of a peer's residual; sorted, it stands last
_M = Axis.METRICS
ARRAYS = (
    ArraySpec("peer_rows", "i4", (_M, PEERS), NOBODY, Home.PACKAGE),
    ArraySpec("peer_slope", "f4", (_M,), 0, Home.PACKAGE),
    ArraySpec("shared", "f2", (_M,)),  # the residual's mean over the last five minutes, as of `shared_bucket`
    ArraySpec("shared_before", "f2", (_M,)),  # as of the observation before
    ArraySpec("shared_bucket", "i8", (), NEVER),
)


def common(state: State, at: Rows, bucket: int) -> FloatArray:
    """What each server's peers have in common, as far as the server follows them, shape (n, metrics).

    In each metric's residual scale, 0 where a metric has too few peers; rounded to float16, as it is stored for replay.

    Args:
        state: Not changed.
        at: The servers' rows.
        bucket: The step that is compared; what peers did in it does not count.
    """
    slope, peers = state.peer_slope[at], state.peer_rows[at]
    if not slope.any():
        return np.zeros_like(slope)
    earlier = np.where((state.shared_bucket < bucket)[:, None], state.shared, state.shared_before).astype(np.float32)
    earlier[state.shared_bucket < bucket - STALE_STEPS] = _ABSENT
    metrics = np.int32(slope.shape[1])
    theirs = earlier.ravel()[peers * metrics + np.arange(metrics, dtype=np.int32)[:, None]]
    theirs[peers == NOBODY] = _ABSENT
    count = (theirs != _ABSENT).sum(axis=-1, dtype=np.int8)
    theirs.sort(axis=-1)
    # Places in a flat view: indexing every axis takes five times as long.
    ordered, first = theirs.ravel(), np.arange(0, theirs.size, PEERS).reshape(slope.shape)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, PEERS - 1)
    middle = (ordered[first + low] + ordered[first + high]) / 2
    follows = slope * np.where((count >= FEWEST) & np.isfinite(middle), middle, 0.0)
    rounded: FloatArray = follows.astype(np.float16).astype(np.float32)
    return rounded


def remember(state: State, at: Rows, bucket: int, residual: FloatArray, step_s: float) -> None:
    """Note the servers' residuals (n, metrics) of a step, before what is common was taken off. Changes the state."""
    before = state.shared[at].astype(np.float32)
    weight = -np.expm1(-step_s / max(WINDOW_S, step_s))
    state.shared_before[at] = before
    state.shared[at] = before + weight * (clip(residual, -LARGEST_RESIDUAL, LARGEST_RESIDUAL) - before)
    state.shared_bucket[at] = bucket


def keep_within(state: State, groups: npt.NDArray[np.intp]) -> None:
    """Take away peers of another group: in the cloud each group is a state of its own, and they are nobody there.

    Args:
        state: Of several groups' servers; changed in place.
        groups: Of each row, shape (rows,).
    """
    state.peer_rows[groups[state.peer_rows] != groups[:, None, None]] = NOBODY


def choose(means: FloatArray, metric: int) -> tuple[npt.NDArray[np.int32], FloatArray]:
    """The peers of each server of a group for one metric, and how far it follows them.

    Args:
        means: Residuals averaged over quarter hours, shape (servers, times, metrics), in their scale.
        metric: Which of them.

    Returns:
        Rows within the group, shape (servers, PEERS), `NOBODY` where there is none; and slopes, shape (servers,).
    """
    own = means[:, :, metric] - means[:, :, metric].mean(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        correlation = np.nan_to_num(np.corrcoef(own)).reshape(len(own), len(own))
    np.fill_diagonal(correlation, -1.0)
    rows = np.full((len(own), PEERS), NOBODY, dtype=np.int32)
    slopes = np.zeros(len(own))
    for server in range(len(own)):
        best = np.argsort(-correlation[server], kind="stable")[:PEERS]
        best = best[correlation[server][best] > LEAST_CORRELATION]
        if len(best) < FEWEST:
            continue
        shared = np.median(means[best, :, metric], axis=0)
        shared -= shared.mean()
        slope = float((own[server] * shared).sum() / max(float((shared**2).sum()), 1e-9))
        rows[server, : len(best)], slopes[server] = best, min(max(slope, 0.0), LARGEST_SLOPE)
    return rows, slopes
