"""Promotion without an endpoint: detect reads a model's forest by itself, so there is nothing to host."""

from dataclasses import dataclass

from treeline.app.detect.handover import Pointer
from treeline.app.promote.ports import EndpointView
from treeline.app.promote.progress import Candidate, PromotionError
from treeline.aws.detect.embedded import ModelForests
from treeline.core.errors import ScorerContractError

_NO_CONFIGURATION = "embedded"


@dataclass(frozen=True, slots=True)
class EmbeddedHosting:
    """Sees that a model's forest can be read; see `treeline.app.promote.ports.Hosting`."""

    forests: ModelForests

    def view(self) -> EndpointView:
        """As an endpoint that is in service, whatever was asked of it, and hosts nothing."""
        return EndpointView(status="InService", config_name=_NO_CONFIGURATION)

    def serves(self, pointer: Pointer) -> bool:
        """Whether the pointer says where the forest is: one of a time before the scorer was embedded may not."""
        return bool(pointer.model_data_url)

    def ensure_model(self, candidate: Candidate) -> str:
        """SageMaker's name of the model, where it has one; raises PromotionError for a forest that is not ours."""
        try:
            self.forests.of(candidate.model_data_url)
        except ScorerContractError as error:
            raise PromotionError(f"model {candidate.model_version}: {error}") from error
        return candidate.model_name

    def host(self, model_name: str, variant: str, *, beside: str | None) -> str:
        """Nothing to start."""
        return _NO_CONFIGURATION

    def keep_only(self, variant: str) -> str:
        """Nothing to remove: workers forget a forest that is not asked any more."""
        return _NO_CONFIGURATION

    def settle(self, variant: str) -> None:
        """Nothing to scale."""

    def abandon(self) -> None:
        """Nothing that could not come up."""
