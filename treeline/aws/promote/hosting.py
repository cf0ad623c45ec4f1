"""The model endpoint's control plane. The promotion workflow owns the endpoint, so nothing else calls this.

Configurations are immutable and named after their content: asking for the same again finds it there, and an update
that was started already is not started twice.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from treeline.app.detect.handover import Pointer
from treeline.app.promote.ports import EndpointView
from treeline.app.promote.progress import Candidate, PromotionError
from treeline.app.promote.service import variant_name
from treeline.aws.client_types import SageMakerClient
from treeline.aws.retries import error_code

_ABSENT = {"ValidationException", "ResourceNotFound"}  # SageMaker has no code of its own for an unknown name
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_POLICY = "treeline-invocations"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostingSettings:
    """What an endpoint is made of."""

    endpoint_name: str
    role_arn: str  # the role the model's container runs with
    instance_type: str = "ml.m5.large"
    instances: int = 1  # of a variant when it is created; autoscaling goes from there to the next
    max_instances: int = 4
    invocations_per_instance: float = 600.0  # a minute; autoscaling holds it
    capture_url: str = ""  # where requests and answers go; empty: nowhere
    capture_percent: int = 10  # the share of them


class SageMakerHosting:
    """Hosts models on one endpoint; see `treeline.app.promote.ports.Hosting`."""

    def __init__(self, sagemaker: SageMakerClient, scaling: Any, settings: HostingSettings) -> None:
        self._sagemaker = sagemaker
        self._scaling = scaling
        self._settings = settings

    def view(self) -> EndpointView | None:
        """The endpoint now; None where there is none."""
        try:
            found = self._sagemaker.describe_endpoint(EndpointName=self._settings.endpoint_name)
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return None
            raise
        return EndpointView(
            status=found["EndpointStatus"],
            config_name=found.get("EndpointConfigName", ""),
            variants=tuple(v["VariantName"] for v in found.get("ProductionVariants", [])),
            failure=found.get("FailureReason", ""),
        )

    def serves(self, pointer: Pointer) -> bool:
        """Whether one of the endpoint's variants is the active model's; any is where the pointer names none."""
        view = self.view()
        variants = () if view is None else view.variants
        return pointer.target_variant in variants if pointer.target_variant else bool(variants)

    def ensure_model(self, candidate: Candidate) -> str:
        """SageMaker's name of the model, created where it is not there yet."""
        if candidate.model_name:
            try:
                self._sagemaker.describe_model(ModelName=candidate.model_name)
            except ClientError as error:
                if error_code(error) not in _ABSENT:
                    raise
            else:
                return candidate.model_name
        if not candidate.image or not candidate.model_data_url:
            raise PromotionError(f"model {candidate.model_version} names no image and no model data to host")
        content = {"Image": candidate.image, "ModelDataUrl": candidate.model_data_url}
        name = f"{variant_name(candidate.model_version)[:54]}-{_digest(content)}"
        try:
            self._sagemaker.create_model(
                ModelName=name,
                ExecutionRoleArn=self._settings.role_arn,
                PrimaryContainer={"Image": candidate.image, "ModelDataUrl": candidate.model_data_url},
            )
        except ClientError as error:
            if "already exist" not in str(error):  # SageMaker has no code of its own for this either
                raise
        return name

    def host(self, model_name: str, variant: str, *, beside: str | None) -> str:
        """Start hosting the model, beside an existing variant or alone; the wanted configuration's name.

        The candidate has weight 0: only requests that name its variant reach it.
        """
        variants = [] if beside is None or beside == variant else [self._current(beside)]
        variants.append(
            {
                "VariantName": variant,
                "ModelName": model_name,
                "InstanceType": self._settings.instance_type,
                "InitialInstanceCount": self._settings.instances,
                "InitialVariantWeight": 0.0 if variants else 1.0,
            }
        )
        return self._apply(variants)

    def keep_only(self, variant: str) -> str:
        """Start removing every other variant; the wanted configuration's name."""
        view = self.view()
        if view is None:
            raise PromotionError(f"there is no endpoint {self._settings.endpoint_name}")
        if view.variants == (variant,):
            return view.config_name
        for other in view.variants:
            if other != variant:
                self._forget_scaling(other)  # SageMaker refuses to remove a variant that is scaled
        return self._apply([self._current(variant) | {"InitialVariantWeight": 1.0}])

    def settle(self, variant: str) -> None:
        """Register autoscaling of the variant, and forget our configurations that are out of use."""
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": self._resource(variant),
            "ScalableDimension": _DIMENSION,
        }
        self._scaling.register_scalable_target(
            **target, MinCapacity=self._settings.instances, MaxCapacity=self._settings.max_instances
        )
        self._scaling.put_scaling_policy(
            **target,
            PolicyName=_POLICY,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": self._settings.invocations_per_instance,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                "ScaleInCooldown": 300,
                "ScaleOutCooldown": 60,
            },
        )
        view = self.view()
        used = "" if view is None else view.config_name
        pages = self._sagemaker.get_paginator("list_endpoint_configs").paginate(
            NameContains=f"{self._settings.endpoint_name}-"
        )
        for page in pages:
            for config in page["EndpointConfigs"]:
                if self._is_ours(config["EndpointConfigName"]) and config["EndpointConfigName"] != used:
                    self._sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])

    def abandon(self) -> None:
        """Take away an endpoint that never came up, so that another can be created under its name."""
        self._sagemaker.delete_endpoint(EndpointName=self._settings.endpoint_name)

    def _current(self, variant: str) -> dict[str, Any]:
        """A variant as it stands, with as many instances as autoscaling gave it."""
        endpoint = self._sagemaker.describe_endpoint(EndpointName=self._settings.endpoint_name)
        config = self._sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        counts = {v["VariantName"]: v.get("DesiredInstanceCount") for v in endpoint.get("ProductionVariants", [])}
        for found in config["ProductionVariants"]:
            if found["VariantName"] == variant:
                kept: dict[str, Any] = dict(found)
                return kept | {"InitialInstanceCount": counts.get(variant) or kept.get("InitialInstanceCount", 1)}
        raise PromotionError(f"endpoint {self._settings.endpoint_name} has no variant {variant}")

    def _apply(self, variants: Sequence[Mapping[str, Any]]) -> str:
        settings = self._settings
        capture: dict[str, Any] = {}
        if settings.capture_url:
            capture["DataCaptureConfig"] = {
                "EnableCapture": True,
                "InitialSamplingPercentage": settings.capture_percent,
                "DestinationS3Uri": settings.capture_url,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                # Without these lists SageMaker stores base64.
                "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
            }
        name = f"{settings.endpoint_name[:54]}-{_digest([*map(dict, variants), capture])}"
        try:
            self._sagemaker.create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=[dict(v) for v in variants],  # type: ignore[misc]  # read back from SageMaker
                **capture,
            )
        except ClientError as error:
            if "already exist" not in str(error):
                raise
        view = self.view()
        if view is None:
            self._sagemaker.create_endpoint(EndpointName=settings.endpoint_name, EndpointConfigName=name)
        elif view.config_name != name:
            self._sagemaker.update_endpoint(
                EndpointName=settings.endpoint_name, EndpointConfigName=name, RetainAllVariantProperties=False
            )
        return name

    def _forget_scaling(self, variant: str) -> None:
        try:
            self._scaling.deregister_scalable_target(
                ServiceNamespace="sagemaker", ResourceId=self._resource(variant), ScalableDimension=_DIMENSION
            )
        except ClientError as error:
            if error_code(error) != "ObjectNotFoundException":
                raise

    def _resource(self, variant: str) -> str:
        return f"endpoint/{self._settings.endpoint_name}/variant/{variant}"

    def _is_ours(self, name: str) -> bool:
        prefix, _, digest = name.rpartition("-")
        return prefix == self._settings.endpoint_name[:54] and len(digest) == 8


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]
