"""What a profile has of its own: what is measured, how it is decided, how its models are made and replaced."""

from dataclasses import dataclass

from stacks.config.learning import ProfileLearning
from stacks.config.promotion import DriftConfig, PromotionConfig
from stacks.config.sections import (
    DetectionConfig,
    FunctionsConfig,
    RecordsConfig,
    StreamConfig,
    TablesConfig,
    TicksConfig,
)
from treeline.core.expectation import rolling_limits
from treeline.core.setting import WrongSettingError, setting
from treeline.settings.pipeline import Grouping, MetricSet, Scoring, Telling


@dataclass(frozen=True, kw_only=True)
class ProfileConfig(Scoring, MetricSet, Grouping, Telling):
    """The keys that stand at the top of a file for the servers' profile, below `profiles.NAME` for a further one."""

    step_s: int | None = setting(
        None,
        low=1,
        high=3600,
        meaning="Seconds between two observations of a server, as senders send; null: training takes the "
        "history's, and the alarm NoScores expects one a minute.",
    )
    stream: StreamConfig = setting(StreamConfig, meaning="The stream of observations.")
    records: RecordsConfig = setting(RecordsConfig, meaning="What is accepted.")
    tables: TablesConfig = setting(TablesConfig, meaning="How tables are paid.")
    ticks: TicksConfig = setting(TicksConfig, meaning="Work for detect.")
    detection: DetectionConfig = setting(DetectionConfig, meaning="How detect decides.")
    functions: FunctionsConfig = setting(FunctionsConfig, meaning="Sizes.")
    learning: ProfileLearning = setting(ProfileLearning, meaning="From history to a registered model.")
    promotion: PromotionConfig = setting(PromotionConfig, meaning="From a model to the one that decides.")
    drift: DriftConfig = setting(DriftConfig, meaning="When a model is replaced.")

    def check(self) -> None:
        """A rolling window fits the sampling step, and what is stored of a group."""
        super().check()
        window_s = self.detection.trained_window_s
        if window_s and (why := rolling_limits.why_too_wide(self.group_size, len(self.metrics))):
            raise WrongSettingError("detection.expectation", why)
        if window_s and self.step_s is not None and (why := rolling_limits.why_too_short(window_s, self.step_s)):
            raise WrongSettingError("detection.rolling_window_s", why)
