"""What the functions of the learning stack are told."""

import json
from dataclasses import dataclass

from treeline.core.errors import SettingsError
from treeline.settings.pipeline import EnvSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitSettings(EnvSettings):
    """From a candidate's artifacts to a yes or a no."""

    stage: str
    metrics: str  # as DetectSettings.metrics: the package must have been trained on the same set
    models_bucket: str

    def __post_init__(self) -> None:
        """Check the metric set."""
        try:
            json.loads(self.metrics)
        except ValueError as error:
            raise SettingsError(f"METRICS must be a JSON list, got {self.metrics[:80]!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEndedSettings(EnvSettings):
    """From the end of a training run to a message for the people who run Treeline."""

    stage: str
    operations_topic_arn: str
    runbook_url: str = "docs/runbooks/training-failed.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrainingSettings(EnvSettings):
    """From a schedule to a training run."""

    stage: str
    pipeline_name: str
