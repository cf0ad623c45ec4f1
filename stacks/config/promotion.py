"""Settings of promotion and drift: `promotion` and `drift` in `config/<stage>.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stacks.config.fields import bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionConfig:
    """How a model gets to decide; the promotion workflow owns the endpoint."""

    instance_type: str = "ml.m5.large"  # not ml.t2: a burstable instance cannot be scaled
    instances: int = bounded(1, 1, 100)  # two for an endpoint that outlives an availability zone
    max_instances: int = bounded(4, 1, 100)
    invocations_per_instance: float = bounded(600.0, 1.0, 1e6)  # a minute, held by autoscaling
    capture_percent: int = bounded(10, 0, 100)  # of requests and answers, to the models bucket; 0: none
    capture_days: int = bounded(30, 1, 3650)
    share: float = bounded(0.1, 0.001, 1.0)  # of the servers, by stable hash
    hold_s: int = bounded(86_400, 0, 2_592_000)  # event time; 0: no canary
    slice_s: int = bounded(3600, 60, 86_400)  # event time between two judgements
    max_wait_s: int = bounded(172_800, 60, 2_592_000)  # wall clock; a fleet that fell silent proves nothing
    poll_s: int = bounded(300, 1, 3600)  # wall clock
    endpoint_poll_s: int = bounded(30, 1, 3600)
    settle_s: int = bounded(300, 0, 3600)  # the old variant outlives the cut-over by this
    limits: Mapping[str, Any] = field(default_factory=dict)  # overrides of treeline.core.model.canary.CanaryLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftConfig:
    """When a model is replaced; what the rules are: treeline.core.model.drift.DriftRules."""

    scheduled: bool = True  # false: neither rolled up nor evaluated unless invoked
    rules: Mapping[str, Any] = field(default_factory=dict)
