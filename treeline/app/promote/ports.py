"""What the promotion use case works with: the candidate, its progress, and the services it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from treeline.app.detect.handover import Pointer
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.promote.canary import Canary
from treeline.core.errors import TreelineError
from treeline.core.model.package import ModelPackage


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


class Stage(StrEnum):
    """How far a promotion has come."""

    PREPARED = "prepared"
    HOSTED = "hosted"
    CANARY = "canary"
    CUT_OVER = "cut_over"
    DONE = "done"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A promotion's memory, so that any step may be repeated and a restarted execution goes on where it stopped.

    Attributes:
        execution: Who runs it.
        candidate: What is promoted.
        stage: The last step done.
        config_name: The endpoint configuration that hosts both; later the one that hosts the candidate alone.
        variant: The candidate's variant.
        canary_from: Event time the canary started at, milliseconds.
        reference: The champion's score mean and sd before the canary, by canary server.
        verdicts: One JSON object a judged slice.
        snapshot: Call totals and sums of scores at the end of the last judged slice; since when it is behind.
        reason: Why it was rolled back.
    """

    execution: str
    candidate: Candidate
    stage: Stage = Stage.PREPARED
    started_ms: int = 0
    hold_s: int | None = None
    config_name: str = ""
    variant: str = ""
    canary_from: int = 0
    reference: dict[str, tuple[float, float]] = field(default_factory=dict)
    verdicts: tuple[Mapping[str, Any], ...] = ()
    snapshot: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.stage in (Stage.DONE, Stage.ROLLED_BACK)

    def at(self, stage: Stage, **values: Any) -> "Progress":
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
        values["stage"] = Stage(values["stage"])
        values["verdicts"] = tuple(values["verdicts"])
        values["reference"] = {server: (float(m), float(s)) for server, (m, s) in values["reference"].items()}
        return cls(**values)


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
        ...

    def known(self, model_version: str) -> Candidate:
        """A model promoted before; raises PromotionError for one that was not."""
        ...

    def remember(self, candidate: Candidate) -> None:
        """Keep what a roll-back to this model will need."""
        ...


class Artifacts(Protocol):
    """The objects a model is made of."""

    def require(self, candidate: Candidate) -> None:
        """Raises PromotionError naming the artifact that is missing."""
        ...


class Hosting(Protocol):
    """The endpoint, owned by the promotion workflow alone. Every call may be repeated."""

    def view(self) -> EndpointView | None:
        """The endpoint now; None where there is none."""
        ...

    def ensure_model(self, candidate: Candidate) -> str:
        """SageMaker's name of the model, created where it is not there yet."""
        ...

    def host(self, model_name: str, variant: str, *, beside: str | None) -> str:
        """Start hosting the model, beside an existing variant or alone; the wanted configuration's name."""
        ...

    def keep_only(self, variant: str) -> str:
        """Start removing every other variant; the wanted configuration's name."""
        ...

    def settle(self, variant: str) -> None:
        """Once in service: register autoscaling of the variant, forget configurations out of use."""
        ...

    def abandon(self) -> None:
        """Take away an endpoint that never came up, so that another can be created under its name."""
        ...


class Models(Protocol):
    """The pointers to the models that decide."""

    def read(self) -> Pointer | None:
        """The active model's pointer."""
        ...

    @property
    def canary(self) -> Canary | None:
        """The canary under way, as last read."""
        ...

    def load(self, key: str) -> ModelPackage:
        """A package; raises ModelMismatchError for one that is missing or does not fit."""
        ...

    def point_at(self, wanted: Pointer) -> Pointer:
        """Make a model the active one."""
        ...

    def start_canary(self, canary: Canary) -> Canary:
        """Let a candidate decide beside the active model."""
        ...

    def end_canary(self) -> None:
        """Stop that."""
        ...


class Evidence(Protocol):
    """What the champion and the candidate did."""

    def servers(self) -> Sequence[str]:
        """All servers the active model decides."""
        ...

    def watermark(self, model_version: str) -> int | None:
        """Event time up to which a model has decided all groups that are alive; None before its first decision."""
        ...

    def blocks(self, start_ms: int, end_ms: int, *, model_version: str, is_shadow: bool) -> Sequence[ScoreBlock]:
        """Score blocks with observations in [start, end)."""
        ...

    def candidate_pages(self, model_version: str, start_ms: int, end_ms: int) -> int:
        """Incidents the candidate opened."""
        ...

    def champion_pages(self, servers: Sequence[str], start_ms: int, end_ms: int) -> int:
        """Incidents the champion opened for these servers."""
        ...

    def totals(self, model_version: str, role: str) -> CallTotals:
        """Calls of the `champion` or the `candidate` during this candidate's canary."""
        ...


class ProgressStore(Protocol):
    """The one promotion under way."""

    def load(self) -> Progress | None:
        """It, or the last one that ended."""
        ...

    def save(self, progress: Progress) -> None:
        """Keep it."""
        ...

    def is_running(self, execution: str) -> bool:
        """Whether that execution is still at work."""
        ...


class Announcer(Protocol):
    """Tells people what happens to the models."""

    def tell(self, step: str, summary: str, details: Mapping[str, Any]) -> None:
        """Publish one step; must not fail the promotion."""
        ...
