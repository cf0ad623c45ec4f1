"""What the functions of the learning stack are told."""

from dataclasses import dataclass

from treeline.settings.environment import EnvSettings
from treeline.settings.pipeline import MetricSet


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
