"""From a raw score to a severity, per server and without labels.

The raw score's level depends on the model, the dimension and the server, so it is never compared with a constant.
What counts is how far it has risen above the server's own recent past. Five channels, the largest wins:

- the *score* channel: the rise above the median of the last six hours (`onset`), or above a one-day exponentially
  weighted mean (`ema`), each in standard deviations of that rise in training;
- four channels over the metrics' own deviations, which need no forest (`treeline.core.channels`); two of them are
  switched off ("gated") for servers on which training shows them to fire at the same times of day.

Where a channel's thresholds lie is the fleet's own: training raises the floors, the defaults of `Calibration`, to what
the channel exceeded so often in the fleet's unlabelled past (`prepare.thresholds`), `treeline calibrate` to a budget.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.channels.channels import CHANNELS
from treeline.core.detection.features import Index
from treeline.core.severity import LARGEST_SEVERITY, Channel
from treeline.core.state.fleet import FleetState, together
from treeline.core.state.layout import SCORE_SLOTS
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha

ONSET_WINDOW_S = 6 * 3600.0
EMA_HALF_LIFE_S = 86_400.0
EMA_CLIP_SD = 6.0
# What no fleet's thresholds lie below, however quiet its past. Decision 20 has the figures, and what looked at labels.
_SCORE = Channel(p2=10.0, p1=10.4)
_DAY = Channel(p2=10.2, p1=12.0)
_TAIL = Channel(p2=7.2, p1=7.5)
_MEAN10 = Channel(p2=6.5, p1=7.5)
_DIFFERENCE = Channel(p2=7.0, p1=11.8)


class ScoreChannel(StrEnum):
    """What the score is compared with."""

    ONSET = "onset"
    EMA = "ema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How measures map to the fixed scale; part of the model package.

    The defaults are the floors that ship, the same for every fleet (decision 20).
    """

    score_channel: ScoreChannel = ScoreChannel.ONSET
    score: Channel = _SCORE
    day: Channel = _DAY
    tail: Channel = _TAIL
    mean10: Channel = _MEAN10
    difference: Channel = _DIFFERENCE

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Calibration":
        """Read what `to_json` wrote."""
        return cls(
            score_channel=ScoreChannel(body["score_channel"]),
            **{name: Channel(**body[name]) for name in ("score", *CHANNELS)},
        )


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Severity and what it was made from, one entry a server.

    Attributes:
        severity: On the fixed scale, shape (n,), at most `LARGEST_SEVERITY`.
        rise: The score channel's measure, in its standard deviations.
        threshold: The raw score that would have meant severity 1.5.
        channel: Which channel gave the severity: 0 the score, then 1 + the position in `CHANNELS`.
    """

    severity: FloatArray
    rise: FloatArray
    threshold: FloatArray
    channel: npt.NDArray[np.intp]


def calibrate(
    state: FleetState,
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    scores: FloatArray,
    measures: FloatArray,
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
        measures: The other channels' measures of the same observations, shape (n, 4).
        calibration: The model's mapping.
        elapsed_s: Seconds since each server's previous observation.
        learn: False leaves the state as it is.
    """
    at = together(rows)
    score = scores.astype(np.float32)
    residual_sd, score_mean, score_var = state.residual_sd[at], state.score_mean[at], state.score_var[at]
    slow_sd = np.maximum(np.sqrt(score_var), 0.2 * residual_sd)
    if calibration.score_channel is ScoreChannel.ONSET:
        level, scale = _median_of_known(state.score_slots[at], otherwise=score), residual_sd
    else:
        level, scale = score_mean, slow_sd
    rise = (score - level) / scale
    score_severity = calibration.score.severity(rise)
    severities = np.stack(
        [score_severity, *(getattr(calibration, name).severity(measures[:, i]) for i, name in enumerate(CHANNELS))]
    )
    severities[1:][state.channel_gated[at].T > 0] = 0.0
    result = Calibrated(
        severity=np.minimum(severities.max(axis=0), LARGEST_SEVERITY),
        rise=rise,
        threshold=level + calibration.score.p2 * scale,
        channel=severities.argmax(axis=0),
    )
    if learn:
        slot = observed_at // int(ONSET_WINDOW_S * 1000 / SCORE_SLOTS)
        fresh = np.flatnonzero(slot != state.score_slot[at])
        state.score_slots[rows[fresh], slot[fresh] % SCORE_SLOTS] = score[fresh]
        state.score_slot[at] = slot
        clipped = np.minimum(score, score_mean + EMA_CLIP_SD * slow_sd)
        ew_update(score_mean, score_var, clipped, half_life_alpha(elapsed_s.astype(np.float32), EMA_HALF_LIFE_S))
        state.score_mean[at], state.score_var[at] = score_mean, score_var
    return result


def _median_of_known(slots: FloatArray, *, otherwise: FloatArray) -> FloatArray:
    """Each row's median; of the known (the lower middle) where some are NaN; `otherwise` where all are."""
    known = SCORE_SLOTS - np.isnan(slots).sum(axis=1)
    ordered = np.sort(slots, axis=1)  # NaN last
    row = np.arange(len(slots))
    lower = ordered[row, np.maximum(known - 1, 0) // 2]
    median = np.where(known == SCORE_SLOTS, (lower + ordered[:, SCORE_SLOTS // 2]) / 2, lower)
    return np.where(known == 0, otherwise, median)
