"""What is learned under a name of its own: the servers' profile, and others beside it."""

from dataclasses import dataclass

from stacks.config.learning import ProfileLearning
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.setting import setting
from treeline.settings.pipeline import MetricSet


@dataclass(frozen=True, kw_only=True)
class ProfileConfig(MetricSet):
    """What a model is trained on."""

    step_s: int | None = setting(
        None,
        low=1,
        high=3600,
        meaning="Seconds between two observations of a server, as senders send; null: training takes the "
        "history's, and the alarm NoScores expects one a minute.",
    )
    learning: ProfileLearning = setting(ProfileLearning, meaning="From history to a registered model.")


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile by name, and the names that AWS knows it by.

    Attributes:
        stage: The deployment.
        name: Within the stage.
        config: Its keys.
        policy: When exceedances become an incident.
        is_detected: Whether detect decides by its model, so that there are a champion and incidents.
    """

    stage: str
    name: str
    config: ProfileConfig
    policy: PolicySettings
    is_detected: bool

    @property
    def pipeline_name(self) -> str:
        """Name of the training pipeline and of the registry's group."""
        return f"treeline-{self.stage}-{self.name}"

    @property
    def versions(self) -> str:
        """What its models' versions begin with."""
        return f"{self.stage}-{self.name}-"

    @property
    def history(self) -> str:
        """Where its history lies in the training bucket; the servers' is where a stage with one profile has it."""
        return "history/" if self.is_detected else f"history-{self.name}/"

    @property
    def forests(self) -> str:
        """Where training jobs leave forests in the models bucket."""
        return "forests" if self.is_detected else f"forests/{self.name}"

    def construct_id(self, id_: str) -> str:
        """Id of one of its constructs; those of the servers' profile are as they were when a stage had one profile."""
        return id_ if self.is_detected else f"{id_}-{self.name}"
