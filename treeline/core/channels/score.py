"""The forest's score: how far the server's metrics together are from all that training saw."""

from dataclasses import dataclass

import numpy as np

from treeline.core.arrays import ArraySpec, Rows
from treeline.core.channels.channel import Channel, Rarity, State
from treeline.core.channels.score_rule import ScoreRule, ScoreSettings
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha

CLIP_SD = 6.0
SMALLEST_SD = 0.02  # of a score; the seeds of a forest alone move one by this much
SMALLEST_GAP = 1e-4  # of the score's limit; a score at the limit has a finite distance
EXCESS_HALF_LIFE_S = 900.0  # a load that a fleet shares builds up in minutes, and one odd step is none


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """What turns a score into the channel's measure, beside what the state knows of the server."""

    settings: ScoreSettings
    limit: float  # no score is larger
    mean: float  # of all scores of training
    sd: float  # of the same; 0 where they are not known
    p2: float  # the measure that means P2


class Score(Channel):
    """How far the forest's score says that the row is from what was seen in training."""

    name = "score"
    title = "forest score"
    meaning = "the metrics stand together as the forest has hardly seen them"
    view = "the forest's score s of the feature row, as s / (limit - s), which is linear in the row's distance"
    aggregate = "one number already"
    floors = Thresholds(p2=1e-3, p1=2e-3)
    rarity = Rarity(p2=2.1, p1=2.25)
    p2_pages = None
    is_model_evidence = True
    arrays = (
        ArraySpec("score_mean", "f4"),
        ArraySpec("score_var", "f4", (), 1.0),
        ArraySpec("score_excess", "f4"),  # of the last quarter hour's scores over `score_mean`
    )
    trained = ("score_mean", "score_var")

    def past(self) -> str:
        """Nothing: the forest is the same for all servers."""
        return "nothing else (`detection.policy.score` can hold it against the server's own scores, or training's)"

    def measure(
        self, state: State, at: Rows, score: FloatArray, scale: ScoreScale, shared: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """How unusual scores are.

        Args:
            state: Not changed.
            at: The servers' rows.
            score: Their scores, shape (n,).
            scale: By what they are measured.
            shared: By how much the group's scores lie above their averages, as `FleetCycle.score_excess`.

        Returns:
            The measures, and the raw scores that would have meant P2, each of shape (n,).
        """
        if scale.settings.rule is ScoreRule.RARITY:
            return distance(score, scale.limit), np.full(len(score), scale.limit * scale.p2 / (1.0 + scale.p2))
        if scale.settings.rule is ScoreRule.EMA:
            level, sd = state.score_mean[at] + np.float32(scale.settings.fleet_weight) * shared, slow_sd(state, at)
        else:
            level, sd = np.full(len(score), scale.mean), np.full(len(score), max(scale.sd, SMALLEST_SD))
        if scale.settings.rule is ScoreRule.THREE_SIGMA and not scale.sd > 0:
            return np.zeros(len(score)), np.full(len(score), np.inf)
        return (score - level) / sd, level + scale.p2 * sd

    def remember(
        self, state: State, at: Rows, score: FloatArray, elapsed_s: FloatArray, scale: ScoreScale, threshold: FloatArray
    ) -> None:
        """Note the scores in the slow mean. Changes the state.

        Under `ema` a score above its threshold is left out of the mean, else what is unusual would soon be usual.
        """
        is_ema = scale.settings.rule is ScoreRule.EMA
        mean, variance = state.score_mean[at], state.score_var[at]
        elapsed_s = elapsed_s.astype(np.float32)
        if is_ema:
            excess = state.score_excess[at]
            state.score_excess[at] = excess + half_life_alpha(elapsed_s, EXCESS_HALF_LIFE_S) * (score - mean - excess)
        learned = np.minimum(score, mean + CLIP_SD * slow_sd(state, at))
        if is_ema:
            learned = np.where(score > threshold, np.nan, learned)
        ew_update(mean, variance, learned, half_life_alpha(elapsed_s, scale.settings.half_life_s))
        state.score_mean[at], state.score_var[at] = mean, variance


def distance(score: FloatArray, limit: float) -> FloatArray:
    """A score as a measure that is linear in how far a row is from all that was seen.

    A row at distance d from a box of width w is cut off with probability d / (w + d), so a score saturates at its
    limit; `score / (limit - score)` does not, and can be extrapolated (decision 0139).
    """
    gap: FloatArray = np.maximum(limit - score, SMALLEST_GAP)
    return score / gap


def slow_sd(state: State, at: Rows) -> FloatArray:
    """The spread of each server's recent scores."""
    sd: FloatArray = np.maximum(np.sqrt(state.score_var[at]), SMALLEST_SD)
    return sd
