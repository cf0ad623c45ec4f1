"""What a promotion keeps between its steps: the candidate, the last step done, what the canary has shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from treeline.core.errors import TreelineError


class PromotionError(TreelineError):
    """A candidate cannot be promoted: what it needs is missing, does not fit, or did not come up."""


class PromotionBusyError(TreelineError):
    """Another promotion is under way; this one has to wait its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model to promote, as the registry describes it."""

    model_version: str
    package_key: str
    package_arn: str = ""
    image: str = ""
    model_data_url: str = ""
    model_name: str = ""  # an existing SageMaker model, where it is one (a roll-back)


class PromotionStage(StrEnum):
    """How far a promotion has come."""

    PREPARED = "prepared"
    HOSTED = "hosted"
    CANARY = "canary"
    CUT_OVER = "cut_over"
    DONE = "done"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A promotion's memory, so that any step may be repeated and a restarted execution goes on where it stopped."""

    execution: str
    candidate: Candidate
    stage: PromotionStage = PromotionStage.PREPARED  # the last step done
    started_ms: int = 0
    hold_s: int | None = None
    config_name: str = ""  # the endpoint configuration that hosts both; later the one that hosts the candidate alone
    variant: str = ""  # the candidate's variant
    canary_from: int = 0  # event time the canary started at, milliseconds
    # The champion's score mean and sd before the canary, by canary server.
    reference: dict[str, tuple[float, float]] = field(default_factory=dict)
    verdicts: tuple[Mapping[str, Any], ...] = ()  # one JSON object a judged slice
    # Call totals and sums of scores at the end of the last judged slice; since when it is behind.
    snapshot: dict[str, Any] = field(default_factory=dict)
    reason: str = ""  # why it was rolled back

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.stage in (PromotionStage.DONE, PromotionStage.ROLLED_BACK)

    def at(self, stage: PromotionStage, **values: Any) -> "Progress":
        """The same promotion one step on."""
        return replace(self, stage=stage, **values)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Progress":
        """Read what `to_json` wrote."""
        values = dict(body)
        values["candidate"] = Candidate(**values["candidate"])
        values["stage"] = PromotionStage(values["stage"])
        values["verdicts"] = tuple(values["verdicts"])
        values["reference"] = {server: (float(m), float(s)) for server, (m, s) in values["reference"].items()}
        return cls(**values)
