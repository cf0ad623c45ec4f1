"""The Model Registry: what was registered, and what each version is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

from treeline.aws.client_types import DescribeModelPackageOutputTypeDef, SageMakerClient
from treeline.core.errors import ModelMismatchError

# Written by the pipeline's Register step (stacks/workflows/training.py).
METADATA = ("model_version", "package_key", "fingerprint", "reason", "algorithm")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """One version in the registry, with all that hosting and detection need of it."""

    arn: str
    number: int
    approval: str  # PendingManualApproval, Approved, Rejected
    created_at: str  # ISO 8601
    image: str
    model_data_url: str
    model_version: str
    package_key: str
    fingerprint: str
    reason: str
    algorithm: str
    evaluation_url: str
    note: str  # the comment given with the approval


class ModelRegistry:
    """Reads one model package group."""

    def __init__(self, sagemaker: SageMakerClient, group: str) -> None:
        self._sagemaker = sagemaker
        self._group = group

    def models(self) -> Iterator[RegisteredModel]:
        """Every version, newest first; those registered by others than our pipeline are left out."""
        pages = self._sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self._group, SortBy="CreationTime", SortOrder="Descending"
        )
        for page in pages:
            for summary in page["ModelPackageSummaryList"]:
                described = self._sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
                if "model_version" in described.get("CustomerMetadataProperties", {}):
                    yield registered_model(described)

    def get(self, arn: str) -> RegisteredModel:
        """One version by its ARN; raises ModelMismatchError if it lacks what our pipeline writes."""
        return registered_model(self._sagemaker.describe_model_package(ModelPackageName=arn))

    def find(self, model_version: str) -> RegisteredModel | None:
        """The version that goes by this name, None if the registry has none."""
        return next((model for model in self.models() if model.model_version == model_version), None)

    def approve(self, arn: str, note: str) -> None:
        """Approve a version, which starts its promotion."""
        self._sagemaker.update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription=note
        )


def registered_model(described: DescribeModelPackageOutputTypeDef) -> RegisteredModel:
    """From the registry's answer; raises ModelMismatchError naming what is missing."""
    arn = described["ModelPackageArn"]
    metadata = described.get("CustomerMetadataProperties", {})
    missing = [name for name in METADATA if not metadata.get(name)]
    containers = described.get("InferenceSpecification", {}).get("Containers", [])
    if missing or not containers or "ModelDataUrl" not in containers[0]:
        lacks = [*missing, *([] if containers and "ModelDataUrl" in containers[0] else ["model data"])]
        raise ModelMismatchError(f"model package {arn} lacks {', '.join(lacks)}; was it registered by our pipeline?")
    quality = described.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
    return RegisteredModel(
        arn=arn,
        number=described.get("ModelPackageVersion", 0),
        approval=described.get("ModelApprovalStatus", "PendingManualApproval"),
        created_at=described["CreationTime"].isoformat(),
        image=containers[0].get("Image", ""),
        model_data_url=containers[0]["ModelDataUrl"],
        evaluation_url=quality.get("S3Uri", ""),
        note=described.get("ApprovalDescription", ""),
        **{name: metadata[name] for name in METADATA},
    )
