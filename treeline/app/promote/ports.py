"""The services that a promotion needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from treeline.app.detect.handover import Pointer
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.promote.canary import Canary, Side
from treeline.app.promote.progress import Candidate, Progress
from treeline.core.model.package import ModelPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTotals:
    """Calls of a variant since its canary began; durations as a histogram, upper edge in ms -> count."""

    calls: int = 0
    errors: int = 0
    durations: Mapping[float, int] = field(default_factory=dict)

    def since(self, earlier: "CallTotals") -> "CallTotals":
        """What came after an earlier reading."""
        return CallTotals(
            calls=self.calls - earlier.calls,
            errors=self.errors - earlier.errors,
            durations={edge: n - earlier.durations.get(edge, 0) for edge, n in self.durations.items()},
        )

    def p95_ms(self) -> float:
        """95th percentile; 0 without a call."""
        total, seen = sum(self.durations.values()), 0
        for edge in sorted(self.durations):
            seen += self.durations[edge]
            if seen >= 0.95 * total:
                return edge
        return 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "calls": self.calls,
            "errors": self.errors,
            "durations": {repr(k): v for k, v in self.durations.items()},
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "CallTotals":
        """Read what `to_json` wrote; an empty mapping is no calls."""
        return cls(
            calls=int(body.get("calls", 0)),
            errors=int(body.get("errors", 0)),
            durations={float(k): int(v) for k, v in body.get("durations", {}).items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """The endpoint as SageMaker describes it."""

    status: str
    config_name: str
    variants: tuple[str, ...] = ()
    failure: str = ""


class Registry(Protocol):
    """Where approved models are."""

    def candidate(self, package_arn: str) -> Candidate:
        """The model of a package; raises PromotionError where it is not complete."""

    def known(self, model_version: str) -> Candidate:
        """A model promoted before; raises PromotionError for one that was not."""

    def remember(self, candidate: Candidate) -> None:
        """Keep what a roll-back to this model will need."""


class ArtifactCheck(Protocol):
    """The objects a model is made of."""

    def require(self, candidate: Candidate) -> None:
        """Raises PromotionError naming the artifact that is missing."""


class Hosting(Protocol):
    """The endpoint, owned by the promotion workflow alone, or what stands for it. Every call may be repeated."""

    def view(self) -> EndpointView | None:
        """The endpoint now; None where there is none."""

    def serves(self, pointer: Pointer) -> bool:
        """Whether detect finds the active model where it asks."""

    def ensure_model(self, candidate: Candidate) -> str:
        """SageMaker's name of the model, created where it is not there yet."""

    def host(self, model_name: str, variant: str, *, beside: str | None) -> str:
        """Start hosting the model, beside an existing variant or alone; the wanted configuration's name."""

    def keep_only(self, variant: str) -> str:
        """Start removing every other variant; the wanted configuration's name."""

    def settle(self, variant: str) -> None:
        """Once in service: register autoscaling of the variant, forget configurations out of use."""

    def abandon(self) -> None:
        """Take away an endpoint that never came up, so that another can be created under its name."""


class DecidingModels(Protocol):
    """The models that decide, and their packages."""

    def read(self) -> Pointer | None:
        """Read the pointers; the active model's."""

    @property
    def canary(self) -> Canary | None:
        """The canary under way, as last read."""

    def load(self, key: str) -> ModelPackage:
        """A package; raises ModelMismatchError for one that is missing or does not fit."""


class ModelPointers(DecidingModels, Protocol):
    """The pointers to the models that decide, to be moved."""

    def point_at(self, wanted: Pointer) -> Pointer:
        """Make a model the active one."""

    def start_canary(self, canary: Canary) -> Canary:
        """Let a candidate decide beside the active model."""

    def end_canary(self) -> None:
        """Stop that."""


class Evidence(Protocol):
    """What the champion and the candidate did."""

    def servers(self) -> Sequence[str]:
        """All servers the active model decides."""

    def watermark(self, model_version: str) -> int | None:
        """Event time up to which a model has decided all groups that are alive; None before its first decision."""

    def blocks(self, start_ms: int, end_ms: int, *, model_version: str, is_candidate: bool) -> Sequence[ScoreBlock]:
        """Score blocks with observations in [start, end): the candidate's of its canary, or the group's own."""

    def candidate_pages(self, model_version: str, start_ms: int, end_ms: int) -> int:
        """Incidents the candidate opened."""

    def champion_pages(self, servers: Sequence[str], start_ms: int, end_ms: int) -> int:
        """Incidents the champion opened for these servers."""

    def totals(self, model_version: str, role: Side) -> CallTotals:
        """Calls of one side during this candidate's canary."""


class ProgressStore(Protocol):
    """The one promotion under way."""

    def load(self) -> Progress | None:
        """It, or the last one that ended."""

    def save(self, progress: Progress) -> None:
        """Keep it."""

    def is_running(self, execution: str) -> bool:
        """Whether that execution is still at work."""


class Announcer(Protocol):
    """Tells people what happens to the models."""

    def tell(self, step: str, summary: str, details: Mapping[str, Any]) -> None:
        """Publish one step; must not fail the promotion."""
