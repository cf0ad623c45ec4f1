"""From a raw score to a severity, per server and without labels.

The raw score's level depends on the model, the dimension and the server, so it is never compared with a constant.
What counts is how far it has risen above the server's own recent past. Two channels, the larger wins:

- the *score* channel: the rise above the median of the last six hours (`onset`), or above a one-day exponentially
  weighted mean (`ema`), each in standard deviations of that rise in training;
- the *spike* channel: how far the farthest metrics are from their own trailing day, which needs no forest and is
  switched off ("gated") for servers on which training shows it to fire at the same times of day.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.features import Index
from treeline.core.severity import Channel
from treeline.core.state import SCORE_SLOTS, FleetState
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha

ONSET_WINDOW_S = 6 * 3600.0
EMA_HALF_LIFE_S = 86_400.0
EMA_CLIP_SD = 6.0
_SCORE = Channel(p2=7.0, p1=8.0)
_SPIKE = Channel(p2=8.0, p1=10.0)


class ScoreChannel(StrEnum):
    """What the score is compared with."""

    ONSET = "onset"
    EMA = "ema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How measures map to the fixed scale; part of the model package.

    The defaults are the best fixed settings measured over two labelled fleets (evidence, section 7).
    """

    score_channel: ScoreChannel = ScoreChannel.ONSET
    score: Channel = _SCORE
    spike: Channel = _SPIKE

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Calibration":
        """Read what `to_json` wrote."""
        return cls(
            score_channel=ScoreChannel(body["score_channel"]),
            score=Channel(**body["score"]),
            spike=Channel(**body["spike"]),
        )


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Severity and what it was made from, one entry a server.

    Attributes:
        severity: On the fixed scale, shape (n,).
        rise: The score channel's measure, in its standard deviations.
        threshold: The raw score that would have meant severity 1.5.
        by_spike: True where the spike channel gave the severity.
    """

    severity: FloatArray
    rise: FloatArray
    threshold: FloatArray
    by_spike: npt.NDArray[np.bool_]


def calibrate(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    scores: FloatArray,
    spike: FloatArray,
    calibration: Calibration,
    *,
    elapsed_s: FloatArray,
    learn: bool = True,
) -> Calibrated:
    """Turn the scores of some servers' observations into severities; then remember the scores.

    Args:
        state: Changed in place when `learn`.
        rows: Distinct rows of the servers, shape (n,).
        observed_at: Milliseconds, shape (n,).
        scores: The forest's scores, shape (n,), finite.
        spike: The spike measure of the same observations.
        calibration: The model's mapping.
        elapsed_s: Seconds since each server's previous observation.
        learn: False leaves the state as it is.
    """
    score = scores.astype(np.float32)
    residual_sd = state.residual_sd[rows]
    slots = state.score_slots[rows]
    empty = np.isnan(slots)
    typical = np.where(empty.all(axis=1), score, _median_of_known(slots, empty))
    filled = np.where(empty, typical[:, None], slots)  # slots not yet known count as typical, and stay unknown
    score_mean, score_var = state.score_mean[rows], state.score_var[rows]
    if calibration.score_channel is ScoreChannel.ONSET:
        level, scale = np.median(filled, axis=1), residual_sd
    else:
        level, scale = score_mean, np.maximum(np.sqrt(score_var), 0.2 * residual_sd)
    rise = (score - level) / scale
    score_severity = calibration.score.severity(rise)
    spike_severity = np.where(state.spike_gated[rows] > 0, 0.0, calibration.spike.severity(spike))
    result = Calibrated(
        severity=np.maximum(score_severity, spike_severity),
        rise=rise,
        threshold=level + calibration.score.p2 * scale,
        by_spike=spike_severity > score_severity,
    )
    if learn:
        slot = observed_at // int(ONSET_WINDOW_S * 1000 / SCORE_SLOTS)
        fresh = slot != state.score_slot[rows]
        column = (slot % SCORE_SLOTS).astype(np.intp)
        ranks = np.flatnonzero(fresh)
        slots[ranks, column[ranks]] = score[ranks]
        state.score_slots[rows] = slots
        state.score_slot[rows] = slot
        clipped = np.minimum(score, score_mean + EMA_CLIP_SD * np.maximum(np.sqrt(score_var), 0.2 * residual_sd))
        ew_update(score_mean, score_var, clipped, half_life_alpha(elapsed_s.astype(np.float32), EMA_HALF_LIFE_S))
        state.score_mean[rows], state.score_var[rows] = score_mean, score_var
    return result


def _median_of_known(slots: FloatArray, empty: npt.NDArray[np.bool_]) -> FloatArray:
    if not empty.any():
        return np.zeros(len(slots), dtype=np.float32)
    counted = np.sort(np.where(empty, np.inf, slots), axis=1)
    middle = np.maximum(((~empty).sum(axis=1) - 1) // 2, 0)
    median: FloatArray = counted[np.arange(len(slots)), middle]
    return median
