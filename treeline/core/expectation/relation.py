"""Relation: what a server's other metrics imply for each metric, learned from the server's own past.

With P the inverse of the covariance of a server's residuals (value less expectation), `e = diag(P)^-1 P r` is, metric
by metric, the residual of its regression on all others: r less e is what the others imply (Lauritzen 1996, 5.1).
A metric may be where it usually is and still be wrong for the load that the others show, or far out and just right.
"""

from dataclasses import dataclass

import numpy as np

from treeline.core.arrays import ArraySpec, Axis, Home, Rows, State
from treeline.core.statistics import FloatArray, bounded_step, clip, ew_alpha, ew_update

RECENT = 10  # observations that are taken together
WINDOW_S = 3 * 86_400.0
LARGEST_RESIDUAL = 30.0
LARGEST = 15.0  # deviations; what is farther out is not stranger
RIDGE = 0.02  # on the covariance: metrics that always move together must not explain each other without end
SMALLEST_SD = 0.1
FLOOR_SHARE, FLOOR = 0.5, 0.02  # of the spread in training, and in residuals: what no spread is taken to lie below
_M = Axis.METRICS
ARRAYS = (
    ArraySpec("relation", "f4", (_M, _M), home=Home.PACKAGE),
    ArraySpec("relation_mean", "f4", (_M,)),
    ArraySpec("relation_var", "f4", (_M,), 1.0),
    ArraySpec("relation_floor", "f2", (_M,), FLOOR_SHARE + FLOOR),
    ArraySpec("relation_recent", "f2", (RECENT, _M)),
    ArraySpec("relation_sd", "f2", (_M,), 0.5),  # of the mean of the last ten, in training
)


@dataclass(frozen=True, slots=True)
class Related:
    """Some servers' residuals held against what their other metrics imply; shape (n, metrics) but for the window."""

    implied: FloatArray  # the residual that the other metrics imply
    unexplained: FloatArray  # the rest
    sd: FloatArray  # of the rest, over the last three days
    deviation: FloatArray  # the rest, in that
    window: FloatArray  # (n, RECENT, metrics), the last deviations, now's last
    sustained: FloatArray  # the mean of the last ten in its own spread


def relate(state: State, at: Rows, residual: FloatArray) -> Related:
    """Hold residuals against each other.

    Args:
        state: Not changed.
        at: The servers' rows.
        residual: Shape (n, metrics), in each metric's residual scale; 0 where missing.
    """
    bounded = clip(residual, -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    unexplained = np.matmul(state.relation[at], bounded[..., None])[..., 0]
    sd = np.maximum(np.sqrt(state.relation_var[at]), state.relation_floor[at])
    deviation = clip((unexplained - state.relation_mean[at]) / sd, -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    last = clip(deviation, -LARGEST, LARGEST).astype(np.float16)
    window = np.concatenate([state.relation_recent[at][:, 1:], last[:, None]], axis=1)
    mean = window.mean(axis=1, dtype=np.float32)
    sustained = clip(mean / state.relation_sd[at], -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    return Related(bounded - unexplained, unexplained, sd, deviation, window, sustained)


def learn(state: State, at: Rows, now: Related, aged_s: FloatArray) -> None:
    """Learn what was not explained, after it was compared. Changes the state."""
    mean, variance, alpha = state.relation_mean[at], state.relation_var[at], ew_alpha(aged_s, WINDOW_S)[:, None]
    floor = state.relation_floor[at].astype(np.float32)
    ew_update(mean, variance, bounded_step(now.unexplained, mean, variance, floor, alpha), alpha)
    state.relation_mean[at], state.relation_var[at] = mean, variance


def weights(residuals: FloatArray) -> FloatArray:
    """`diag(P)^-1 P` of residuals (n, metrics) of one server's past; the identity where there are too few."""
    metrics = residuals.shape[1]
    if len(residuals) < 2:
        return np.eye(metrics)
    covariance = np.atleast_2d(np.cov(residuals.T)) + RIDGE * np.eye(metrics)
    precision = np.linalg.inv(covariance)
    weighed: FloatArray = precision / np.diag(precision)[:, None]
    return weighed
