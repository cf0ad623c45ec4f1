"""An override: thresholds, policy or forest settings that an operator put in place of a stage's own, while it runs.

Each change is an entry of its own that is never changed again, so that a decision names the entry it was made by and
can be made again from it. The newest entry counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from treeline.core.detection.policy_settings import PolicySettings

POLICY_KEYS = ("needed", "of_last", "alone_severity", "quiet_s", "cooldown_s")
FOREST_KEYS = ("num_trees", "num_samples_per_tree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What counts in place of the package's and the stage's own settings, and how that came about."""

    id: str
    model_version: str  # the model that decided when it was made; the calibration is that model's and ends with it
    # As `Calibration.to_json` writes it, whole; empty: the package's own.
    calibration: Mapping[str, Any] = field(default_factory=dict)
    # Of `POLICY_KEYS` those that differ from the stage's settings. No model's matter: it stays when the model changes.
    policy: Mapping[str, float] = field(default_factory=dict)
    forest: Mapping[str, int] = field(default_factory=dict)  # of `FOREST_KEYS`, for the training runs to come
    source: str  # what it was made from: a file, a page budget, a trial of `treeline tune`, a revert
    reason: str
    by: str
    created_ms: int
    undo_to: str = ""  # id of the entry that `treeline threshold revert` goes back to; empty: to no override at all

    def calibration_for(self, model_version: str) -> Mapping[str, Any]:
        """The calibration where it was made for that model, else nothing: another model measures on another scale."""
        return self.calibration if model_version == self.model_version else {}

    def policy_over(self, policy: PolicySettings) -> PolicySettings:
        """The stage's policy with what is overridden of it."""
        changes: dict[str, Any] = {name: self.policy[name] for name in POLICY_KEYS if name in self.policy}
        return replace(policy, **changes) if changes else policy

    def training_parameters(self) -> dict[str, str]:
        """Parameters of a training run, as the pipeline's definition names them; what is not here keeps its default."""
        names = {"num_trees": "NumTrees", "num_samples_per_tree": "NumSamplesPerTree"}
        parameters = {names[key]: str(self.forest[key]) for key in FOREST_KEYS if key in self.forest}
        return parameters | ({"PolicyOverride": json.dumps(dict(self.policy))} if self.policy else {})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "id": self.id,
            "model_version": self.model_version,
            "calibration": dict(self.calibration),
            "policy": dict(self.policy),
            "forest": dict(self.forest),
            "source": self.source,
            "reason": self.reason,
            "by": self.by,
            "created_ms": self.created_ms,
            "undo_to": self.undo_to,
        }
