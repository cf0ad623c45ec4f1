"""The settings of the drift check, apart from it: functions without numpy import them too."""

from dataclasses import dataclass

from treeline.core.setting import Settings, WrongSettingError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules(Settings):
    """When a model is to be replaced."""

    threshold: float = setting(1.5, above=0.0, meaning="Rolling shift that is a breach, standard deviations.")
    rolling_days: int = setting(7, low=1, meaning="Days over which a shift is averaged.")
    window_days: int = setting(14, low=1, meaning="Days of data that an evaluation looks at.")
    consecutive: int = setting(3, low=1, meaning="Daily evaluations in breach that start a training run.")
    cooldown_days: int = setting(7, low=0, meaning="After a training run has started, none is started for so long.")
    clip: float = setting(3.0, meaning="An hour counts at most so much, standard deviations.")

    def check(self) -> None:
        """The rules can be met, and not by a disturbance of three days."""
        if self.clip <= self.threshold:
            raise WrongSettingError("clip", f"must be above threshold {self.threshold}, got {self.clip}")
        if self.window_days < self.rolling_days + self.consecutive - 1:
            raise WrongSettingError(
                "window_days",
                f"must hold {self.consecutive} evaluations over {self.rolling_days} days each, got {self.window_days}",
            )
