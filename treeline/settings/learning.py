"""What the functions and jobs of the learning stack are told."""

from dataclasses import dataclass

from treeline.core.setting import Settings, WrongSettingError, setting
from treeline.settings.environment import EnvSettings
from treeline.settings.pipeline import MetricSet


@dataclass(frozen=True, kw_only=True)
class PageBudget(Settings):
    """How many pages people want to get at most; where a training run's past has more, it raises the thresholds."""

    p1_per_week: float | None = setting(
        None,
        above=0.0,
        high=1e6,
        meaning="P1 pages a week, for so many `servers`; null: no budget, thresholds stay as they were fitted.",
    )
    p2_per_day: float | None = setting(
        None, above=0.0, high=1e6, meaning="P2 pages a day, for so many `servers`; set together with `p1_per_week`."
    )
    servers: int = setting(
        500, low=1, high=1_000_000, meaning="What the two numbers are for; a fleet of half of them has half the pages."
    )

    def check(self) -> None:
        """A budget is of both tiers."""
        if (self.p1_per_week is None) != (self.p2_per_day is None):
            missing = "p1_per_week" if self.p1_per_week is None else "p2_per_day"
            raise WrongSettingError(missing, "must be set too: a budget is of P1 and P2")


@dataclass(frozen=True, kw_only=True)
class AdmitSettings(EnvSettings, MetricSet):
    """From a candidate's artifacts to a yes or a no; the package must have been trained on this metric set."""

    stage: str
    models_bucket: str


@dataclass(frozen=True, kw_only=True)
class TrainingEndedSettings(EnvSettings):
    """From the end of a training run to a message for the people who run Treeline."""

    stage: str
    operations_topic_arn: str
    runbook_url: str = "docs/runbooks/training-failed.md"


@dataclass(frozen=True, kw_only=True)
class StartTrainingSettings(EnvSettings):
    """From a schedule to a training run."""

    stage: str
    pipeline_name: str
    controls_table: str
