"""Handing each group's state from one model to the next, when the active model has changed.

One pointer names the active model. Every change of the pointer has a number, its *activation*. The first tick of a
group after a change first writes the new number into the old model's record, so that a worker still on the old model
can no longer commit to it; then it writes the new model's record. After a crash in between, the next tick finishes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from treeline.app.detect.ports import ActivePackage, Record, Records, Scores
from treeline.core.detection.calibration import Calibration
from treeline.core.errors import ModelMismatchError, StateConflictError
from treeline.core.model.handover import hand_over
from treeline.core.model.package import ModelPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Which model decides, and which one did before."""

    model_version: str  # the active model's
    package_key: str  # where its package is, in the models bucket
    target_variant: str = ""  # the endpoint's variant that hosts it; empty where the endpoint has only one
    activation: int = 1  # counts changes of the pointer, from 1
    previous_version: str = ""  # the model it took over from; empty for the first
    previous_package_key: str = ""  # that model's package; empty where it is not known
    package_arn: str = ""  # its model package in the registry; empty where it came from none
    model_name: str = ""  # SageMaker's name of the model; empty where it is not known
    model_data_url: str = ""  # where its forest is, s3://.../model.tar.gz; empty where it is not known


class ActiveModel(ActivePackage, Protocol):
    """The active model, and the pointer to it as last read."""

    @property
    def pointer(self) -> Pointer | None:
        """None before the first model."""

    def load(self, key: str) -> ModelPackage:
        """The package of a key; raises ModelMismatchError where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverRecords:
    """The detector-state table; where the active model has changed, `load` first takes the group's record over."""

    records: Records
    scores: Scores
    models: ActiveModel
    clock_ms: Callable[[], int]

    def load(self, group: int, model_version: str) -> Record | None:
        """The active model's record, taken over from the model before where that is still to be done.

        Raises StateConflictError where a newer model has taken the group over, or another worker is doing so.
        """
        record = self.records.load(group, model_version)
        pointer = self.models.pointer
        if pointer is None or pointer.model_version != model_version:
            return record
        activation = 0 if record is None else record.state.activation
        if activation > pointer.activation:
            raise StateConflictError(f"group {group} was taken over from model {model_version}")
        if activation == pointer.activation or not pointer.previous_version:
            return record
        return self._take_over(group, pointer, record)

    def commit(self, record: Record, previous_version: int) -> None:
        """See `Records`."""
        self.records.commit(record, previous_version)

    def clear_outbox(self, record: Record) -> None:
        """See `Records`."""
        self.records.clear_outbox(record)

    def _take_over(self, group: int, pointer: Pointer, record: Record | None) -> Record:
        package = self.models.active()
        if package is None or package.model_version != pointer.model_version:
            raise StateConflictError(f"the active model changed while group {group} was taken over")
        source = self.records.load(group, pointer.previous_version)
        if source is None:  # a group that came after the change
            record = record or Record(group, pointer.model_version, package.new_state())
            record.state.activation = pointer.activation
            return record
        if source.state.activation < pointer.activation:
            source.state.activation = pointer.activation
            source.state.version += 1
            self.records.commit(source, source.state.version - 1)
        if source.block is not None:
            self.scores.put(group, source.block, self.clock_ms())
        own = None if record is None else record.state
        state = hand_over(package, source.state, calibration=self._calibration_before(pointer), own=own)
        before = state.version
        state.version, state.activation = before + 1, pointer.activation
        taken = Record(group, pointer.model_version, state, None, source.outbox, self.clock_ms(), source.suppressed)
        self.records.commit(taken, before)
        if source.outbox:  # the new record publishes it
            self.records.clear_outbox(Record(group, source.model_version, source.state))
        return taken

    def _calibration_before(self, pointer: Pointer) -> Calibration | None:
        if not pointer.previous_package_key:
            return None
        try:
            return self.models.load(pointer.previous_package_key).calibration
        except ModelMismatchError:  # gone, or of before this code: what was decided by it must not stop the hand-over
            return None
