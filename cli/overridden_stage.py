"""The model that decides on a stage, what overrides it, and the next entry of the record."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.deployment import DeployedStage
from cli.threshold_change import ChangedValue, WantedSettings, differences
from treeline.app.detect.override import Override
from treeline.app.detect.rules import Rules
from treeline.aws.detect.models import ModelStore
from treeline.aws.detect.overrides import OverrideTable
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage
from treeline.settings import outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who makes an entry, why and when."""

    id: str
    by: str
    reason: str
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverriddenStage:
    """By what a stage decides."""

    package: ModelPackage  # of the model that decides
    current: Override | None  # the newest entry
    table: OverrideTable

    @classmethod
    def of(cls, deployment: DeployedStage) -> "OverriddenStage":
        """Read it; raises UsageError where no model decides yet."""
        dynamodb, controls = deployment.client("dynamodb"), deployment.output(outputs.CONTROLS_TABLE)
        bucket = deployment.output(outputs.MODELS_BUCKET)
        models = ModelStore(dynamodb, deployment.client("s3"), controls_table=controls, bucket=bucket)
        package = models.active()
        if package is None:
            raise UsageError(f"no model decides on stage {deployment.stage} yet: train one (treeline model train)")
        return cls(package=package, current=models.override, table=OverrideTable(dynamodb, controls))

    @property
    def in_force(self) -> Calibration:
        """The thresholds that decide."""
        return Rules.of(self.package, PolicySettings(), self.current).calibration

    def policy(self, own: PolicySettings) -> PolicySettings:
        """The policy that decides where the stage's file says `own`."""
        return Rules.of(self.package, own, self.current).policy

    def entry(self, change: WantedSettings, signed: Signature) -> Override:
        """The entry that makes a change; what it does not name stays as it is."""
        calibration = change.calibration or self.in_force
        is_own = calibration.to_json() == self.package.calibration.to_json()
        policy = {} if self.current is None else self.current.policy
        forest = {} if self.current is None else self.current.forest
        return Override(
            id=signed.id,
            model_version=self.package.model_version,
            calibration={} if is_own else calibration.to_json(),
            policy={**policy, **change.policy},
            forest={**forest, **change.forest},
            source=change.source,
            reason=signed.reason,
            by=signed.by,
            created_ms=signed.created_ms,
            undo_to="" if self.current is None else self.current.id,
        )

    def back_to(self, id_: str | None, signed: Signature) -> Override:
        """The entry that goes back to an earlier one; None: to the one before the newest.

        Thresholds of a model that does not decide any more do not come back.

        Raises:
            UsageError: There is no such entry, or nothing to go back to.
        """
        if self.current is None:
            raise UsageError("nothing is overridden, so there is nothing to go back to")
        wanted = self.current.undo_to if id_ is None else id_
        target = self.table.entry(wanted) if wanted else None
        if wanted and target is None:
            raise UsageError(f"there is no entry {wanted!r}; `treeline threshold list` shows them")
        undo_to = self.current.id
        if id_ is None:  # so that the next one goes one step further back
            undo_to = "" if target is None else target.undo_to
        return Override(
            id=signed.id,
            model_version=self.package.model_version,
            calibration={} if target is None else target.calibration_for(self.package.model_version),
            policy={} if target is None else target.policy,
            forest={} if target is None else target.forest,
            source=f"revert to {wanted or 'no override'}",
            reason=signed.reason,
            by=signed.by,
            created_ms=signed.created_ms,
            undo_to=undo_to,
        )

    def differences(self, entry: Override) -> Sequence[ChangedValue]:
        """What an entry would change."""
        return differences(self.current, entry, self.package, self.in_force)

    def put(self, entry: Override) -> None:
        """Let it count; raises StateConflictError where somebody else was faster."""
        self.table.put(entry, after="" if self.current is None else self.current.id)
