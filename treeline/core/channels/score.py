"""The forest's score, against the server's own recent scores."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import NEVER, ArraySpec, Rows
from treeline.core.channels.channel import DAY_S, Channel, State
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha

ONSET_WINDOW_S = 6 * 3600.0
SLOTS = 72  # the onset window, thinned to one score each 1/72 of it
EMA_HALF_LIFE_S = DAY_S
EMA_CLIP_SD = 6.0
SMALLEST_SHARE_OF_RISE = 0.2  # of the rise's spread in training: what the spread of scores is not taken to lie below


class ScoreChannel(StrEnum):
    """What the score is compared with."""

    ONSET = "onset"
    EMA = "ema"


class Score(Channel):
    """How far the forest's score has risen above the server's own recent past.

    A raw score's level depends on the model, the dimension and the server, so it is never held against a constant.
    """

    name = "score"
    title = "forest score"
    meaning = "the metrics stand together as the forest has hardly seen them, and did not so a while ago"
    view = "the forest's score of the feature row"
    aggregate = "one number already"
    floors = Thresholds(p2=10.0, p1=10.4)
    arrays = (
        ArraySpec("score_slots", "f4", (SLOTS,), None),
        ArraySpec("score_slot", "i8", (), NEVER),
        ArraySpec("score_mean", "f4"),
        ArraySpec("score_var", "f4", (), 1.0),
        ArraySpec("residual_sd", "f4", (), 1.0),
    )
    trained = ("residual_sd", "score_mean", "score_var")

    def past(self) -> str:
        """The window."""
        return "its median of the last six hours (with `score_channel: ema`, its average of half-life 1 d)"

    def usual(
        self, state: State, at: Rows, score: FloatArray, compared_with: ScoreChannel
    ) -> tuple[FloatArray, FloatArray]:
        """The level of each server's recent scores, and the spread in which a rise above it is measured.

        Args:
            state: Not changed.
            at: The servers' rows.
            score: Their scores now, float32; a server without a past starts from its first.
            compared_with: Median of the last six hours, or slow mean.
        """
        if compared_with is ScoreChannel.ONSET:
            return _median_of_known(state.score_slots[at], otherwise=score), state.residual_sd[at]
        return state.score_mean[at], _slow_sd(state, at)

    def remember(
        self,
        state: State,
        at: Rows,
        rows: npt.NDArray[np.intp],
        observed_at: npt.NDArray[np.int64],
        score: FloatArray,
        elapsed_s: FloatArray,
    ) -> None:
        """Note the scores: one a slot of the last six hours, all in the slow mean. Changes the state."""
        slot = observed_at // int(ONSET_WINDOW_S * 1000 / SLOTS)
        fresh = np.flatnonzero(slot != state.score_slot[at])
        state.score_slots[rows[fresh], slot[fresh] % SLOTS] = score[fresh]
        state.score_slot[at] = slot
        mean, variance = state.score_mean[at], state.score_var[at]
        clipped = np.minimum(score, mean + EMA_CLIP_SD * _slow_sd(state, at))
        ew_update(mean, variance, clipped, half_life_alpha(elapsed_s.astype(np.float32), EMA_HALF_LIFE_S))
        state.score_mean[at], state.score_var[at] = mean, variance


def _slow_sd(state: State, at: Rows) -> FloatArray:
    return np.maximum(np.sqrt(state.score_var[at]), SMALLEST_SHARE_OF_RISE * state.residual_sd[at])


def _median_of_known(slots: FloatArray, *, otherwise: FloatArray) -> FloatArray:
    """Each row's median; of the known (the lower middle) where some are NaN; `otherwise` where all are."""
    known = SLOTS - np.isnan(slots).sum(axis=1)
    ordered = np.sort(slots, axis=1)  # NaN last
    row = np.arange(len(slots))
    lower = ordered[row, np.maximum(known - 1, 0) // 2]
    median = np.where(known == SLOTS, (lower + ordered[:, SLOTS // 2]) / 2, lower)
    return np.where(known == 0, otherwise, median)
