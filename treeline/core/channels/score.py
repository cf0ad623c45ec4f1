"""The forest's score: how far the server's metrics together are from all that training saw."""

from enum import StrEnum

import numpy as np

from treeline.core.arrays import ArraySpec, Rows
from treeline.core.channels.channel import DAY_S, Channel, Rarity, State
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha

EMA_HALF_LIFE_S = DAY_S
EMA_CLIP_SD = 6.0
SMALLEST_SD = 0.02  # of a score; the seeds of a forest alone move one by this much
SMALLEST_GAP = 1e-4  # of the score's limit; a score at the limit has a finite distance


class ScoreChannel(StrEnum):
    """What the score is held against."""

    LEVEL = "level"
    EMA = "ema"


class Score(Channel):
    """How far the forest's score says that the row is from what was seen in training."""

    name = "score"
    title = "forest score"
    meaning = "the metrics stand together as the forest has hardly seen them"
    view = "the forest's score s of the feature row, as s / (limit - s), which is linear in the row's distance"
    aggregate = "one number already"
    floors = Thresholds(p2=1e-3, p1=2e-3)
    rarity = Rarity(p2=1.85, p1=2.0)
    p2_pages = None
    is_model_evidence = True
    arrays = (ArraySpec("score_mean", "f4"), ArraySpec("score_var", "f4", (), 1.0))
    trained = ("score_mean", "score_var")

    def past(self) -> str:
        """Nothing: the forest is the same for all servers."""
        return "nothing else (with `score_channel: ema`, the server's average of half-life 1 d)"

    def remember(self, state: State, at: Rows, score: FloatArray, elapsed_s: FloatArray) -> None:
        """Note the scores in the slow mean. Changes the state."""
        mean, variance = state.score_mean[at], state.score_var[at]
        clipped = np.minimum(score, mean + EMA_CLIP_SD * slow_sd(state, at))
        ew_update(mean, variance, clipped, half_life_alpha(elapsed_s.astype(np.float32), EMA_HALF_LIFE_S))
        state.score_mean[at], state.score_var[at] = mean, variance


def distance(score: FloatArray, limit: float) -> FloatArray:
    """A score as a measure that is linear in how far a row is from all that was seen.

    A row at distance d from a box of width w is cut off with probability d / (w + d), so a score saturates at its
    limit; `score / (limit - score)` does not, and can be extrapolated (decision 0134).
    """
    gap: FloatArray = np.maximum(limit - score, SMALLEST_GAP)
    return score / gap


def slow_sd(state: State, at: Rows) -> FloatArray:
    """The spread of each server's recent scores."""
    sd: FloatArray = np.maximum(np.sqrt(state.score_var[at]), SMALLEST_SD)
    return sd
