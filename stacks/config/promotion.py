"""Settings of promotion and drift: `promotion` and `drift` in `config/<stage>.yaml`."""

from dataclasses import dataclass

from treeline.core.setting import setting
from treeline.settings.promotion import Drift, PromotionRules, WorkflowPace


@dataclass(frozen=True, kw_only=True)
class PromotionConfig(WorkflowPace, PromotionRules):
    """How a model gets to decide; the promotion workflow owns the endpoint."""

    capture_days: int = setting(30, low=1, high=3650, meaning="How long captured requests and answers are kept.")


@dataclass(frozen=True, kw_only=True)
class DriftConfig(Drift):
    """When a model is replaced."""

    scheduled: bool = setting(True, meaning="false: neither rolled up nor evaluated unless invoked.")
