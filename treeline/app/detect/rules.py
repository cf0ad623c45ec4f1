"""By what a tick decides: the model package's calibration and the stage's policy, or what overrides them."""

from dataclasses import dataclass
from typing import Self

from treeline.app.detect.override import Override
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.model.package import ModelPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """From measures to severities, and from severities to incidents."""

    calibration: Calibration
    policy: PolicySettings
    override: str = ""  # id of the override that gave one of them; empty: both are the package's and the stage's own

    @classmethod
    def of(cls, package: ModelPackage, policy: PolicySettings, override: Override | None = None) -> Self:
        """What holds for a model.

        Args:
            package: The model's package.
            policy: The stage's settings.
            override: What stands over them; None: nothing does.
        """
        if override is None:
            return cls(calibration=package.calibration.under(policy.score), policy=policy)
        stored = override.calibration_for(package.model_version)
        calibration = Calibration.from_json(stored) if stored else package.calibration
        return cls(
            calibration=calibration.under(policy.score),
            policy=override.policy_over(policy),
            override=override.id if stored or override.policy else "",
        )
