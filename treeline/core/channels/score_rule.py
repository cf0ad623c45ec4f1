"""What the forest's score is held against, as settings: apart from it, as functions without numpy import them too."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from treeline.core.setting import Settings, WrongSettingError, setting


class ScoreRule(StrEnum):
    """Where the thresholds of the score come from."""

    RARITY = "rarity"  # from how rare such a distance is in the fleet's past
    EMA = "ema"  # from the server's own recent scores
    THREE_SIGMA = "three_sigma"  # from all scores of training


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings(Settings):
    """By what the forest's score is decided. The factors count with `ema` and `three_sigma`, the rest with `ema`."""

    rule: ScoreRule = setting(
        ScoreRule.RARITY,
        meaning="rarity: the thresholds of the model package, from the fleet's past, with novelty. ema: the mean of "
        "the server's own recent scores and some standard deviations. three_sigma: the mean of all scores of training "
        "and some standard deviations.",
    )
    # Scores have a long upper tail: 3 is the usual factor and is passed now and then, half as much again hardly ever.
    sd_factor: float = setting(3.0, above=0, high=100, meaning="Standard deviations above the mean that mean P2.")
    p1_sd_factor: float = setting(4.5, above=0, high=100, meaning="Standard deviations above the mean that mean P1.")
    half_life_s: float = setting(
        86_400.0, low=60, high=31_536_000, meaning="Half-life of the mean and the deviation of a server's scores."
    )
    fleet_weight: float = setting(
        1.0,
        low=0,
        high=1,
        meaning="How much of a rise that the scores of the whole group share raises each server's threshold.",
    )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` gave and JSON kept."""
        return cls(**{**body, "rule": ScoreRule(body.get("rule", ScoreRule.RARITY))})

    def check(self) -> None:
        """P1 lies above P2."""
        if self.p1_sd_factor <= self.sd_factor:
            raise WrongSettingError(
                "p1_sd_factor", f"must be above sd_factor, got {self.p1_sd_factor} and {self.sd_factor}"
            )
