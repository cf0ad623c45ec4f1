"""How each metric of a server is best expected, and how its metrics belong together: measured on its own past.

The detector ran over the past with every way to expect a value side by side (`treeline.core.expectation`), or with a
rolling window alone. Here each series gets the one that predicted its own second half best, the scale of what is left,
and the width of its band; each server the weights by which its metrics imply each other.
"""

import numpy as np
import numpy.typing as npt

from treeline.core.expectation import relation
from treeline.core.expectation.expectation import LARGEST_RESIDUAL, SMALLEST_SCALE, Basis
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray

BETTER = 0.9  # of the error: a season is believed where it predicts so much better than the trailing day
LARGEST_ERROR = 3.0  # of the training spread: one outage must not decide what predicts best
SCALE_QUANTILE = 0.68
BAND_QUANTILE = 0.985
SMALLEST_BAND_SD, LARGEST_BAND_SD = 1.5, 8.0
WARM_UP_DAYS, WARM_UP_SHARE = 2.0, 1 / 3
LEARNED_SHARE = 2 / 3  # of what follows the warm-up; the rest is held out for thresholds
LARGEST_LEARNED = 10.0


def warm_up(observations: int, step_s: float) -> int:
    """How many observations at the beginning of a past are not learned from."""
    return min(int(WARM_UP_DAYS * 86_400 / step_s), int(observations * WARM_UP_SHARE))


def held_out(observations: int, step_s: float) -> int:
    """From which observation on a past is kept apart to find thresholds on."""
    settled = warm_up(observations, step_s)
    return settled + int((observations - settled) * LEARNED_SHARE)


def choose(
    state: FleetState, row: int, deviations: npt.NDArray[np.float32], sds: npt.NDArray[np.float32], step_s: float
) -> tuple[FloatArray, FloatArray]:
    """Choose each series' expectation.

    Args:
        state: Its row is filled.
        row: The server's.
        deviations: Value less each expectation, shape (n, bases, metrics), in the spreads of training; NaN where
            missing. Where there is one basis, it is the rolling window.
        sds: Standard deviation of the trailing day and of the season, shape (n, 2, metrics); or of that window,
            (n, 1, metrics).
        step_s: The sampling step.

    Returns:
        In the residuals' scale, shape (n, metrics) each: the residuals, 0 where missing, and the standard deviation.
    """
    n = len(deviations)
    if deviations.shape[1] == 1:
        chosen, sd = deviations[:, 0], sds[:, 0]
    else:
        state.basis[row] = basis = _best(deviations)
        chosen = deviations[:, basis, np.arange(len(basis))]
        sd = np.where(basis == Basis.DAY, sds[:, 0], sds[:, 1])
    settled = warm_up(n, step_s)
    known = np.isfinite(chosen)
    magnitude = np.where(known, np.abs(chosen), np.nan)[settled:]
    with np.errstate(all="ignore"):
        scale = _quantile(magnitude, SCALE_QUANTILE)
        band = _quantile(magnitude / sd[settled:], BAND_QUANTILE)
    state.residual_scale[row] = scale = np.maximum(scale, SMALLEST_SCALE)
    state.band_sd[row] = np.clip(band, SMALLEST_BAND_SD, LARGEST_BAND_SD)
    filled = np.where(known, chosen, 0.0)
    residual = np.clip(filled / state.residual_scale[row], -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    return residual, sd / state.residual_scale[row]


def _best(deviations: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Which expectation predicted the second half of each metric best."""
    half = deviations[len(deviations) // 2 :]
    error = np.nan_to_num(np.minimum(np.abs(half), LARGEST_ERROR)).mean(axis=0)
    moved = (error[2] < BETTER * error[0]) & (error[2] < BETTER * error[1])
    season = (error[1] < BETTER * error[0]) & ~moved
    moved |= (error[2] < BETTER * error[0]) & ~season
    return np.where(season, Basis.SEASON, np.where(moved, Basis.MOVED_SEASON, Basis.DAY))


def relate(state: FleetState, row: int, residuals: npt.NDArray[np.float32]) -> None:
    """Learn the weights by which a server's metrics imply each other from its residuals (n, metrics); fills the row."""
    learned = np.clip(residuals, -LARGEST_LEARNED, LARGEST_LEARNED).astype(np.float64)
    state.relation[row] = weights = relation.weights(learned)
    bounded = np.clip(residuals, -relation.LARGEST_RESIDUAL, relation.LARGEST_RESIDUAL)
    rest = np.clip(bounded @ weights.T, -LARGEST_LEARNED, LARGEST_LEARNED)
    sd = np.maximum(rest.std(axis=0) if len(rest) else 0.0, relation.SMALLEST_SD)
    state.relation_mean[row], state.relation_var[row] = 0.0, sd**2
    state.relation_floor[row] = relation.FLOOR_SHARE * sd + relation.FLOOR
    state.relation_recent[row] = 0.0


def _quantile(values: FloatArray, share: float) -> npt.NDArray[np.float64]:
    """Of each column, NaN left out; 0 for a column of nothing."""
    empty = np.isnan(values).all(axis=0)
    return np.asarray(np.nanquantile(np.where(empty, 0.0, values), share, axis=0))
