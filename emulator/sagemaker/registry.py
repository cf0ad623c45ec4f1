"""The Model Registry: groups, versioned packages, approval."""

import time
from dataclasses import dataclass, field

from emulator.loopback.clients import ClientOf
from emulator.sagemaker.errors import ServiceError, not_found, validation
from emulator.sagemaker.s3_urls import bucket_and_key
from emulator.sagemaker.store import Action, Announce, Resource, Store, arn, page, plain_name

STATE_CHANGE = "SageMaker Model Package State Change"
_SUMMARY = (
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
)


@dataclass(slots=True)
class ModelPackageGroups:
    """Model package groups and the packages in them; every approval is announced, also the one at creation."""

    store: Store  # of the groups
    clients: ClientOf
    announce: Announce
    _packages: dict[str, Resource] = field(init=False, default_factory=dict)  # by ARN, in order of creation

    def actions(self) -> dict[str, Action]:
        """The API actions served here."""
        return {
            **self.store.reading("ModelPackageGroupSummaryList", "ModelPackageGroupStatus"),
            "CreateModelPackageGroup": self.create_group,
            "DeleteModelPackageGroup": self.delete_group,
            "CreateModelPackage": self.create,
            "DescribeModelPackage": lambda request: dict(self._package(request["ModelPackageName"])),
            "ListModelPackages": self.list_packages,
            "UpdateModelPackage": self.update,
            "DeleteModelPackage": self.delete,
        }

    def create_group(self, request: Resource) -> Resource:
        """Keep a group."""
        name = request["ModelPackageGroupName"]
        group_arn = arn("model-package-group", name)
        fields = {"ModelPackageGroupArn": group_arn, "ModelPackageGroupStatus": "Completed"}
        self.store.create(name, {**request, **fields})
        return {"ModelPackageGroupArn": group_arn}

    def delete_group(self, request: Resource) -> Resource:
        """Remove a group that holds nothing."""
        name = plain_name(request["ModelPackageGroupName"])
        with self.store.lock:
            self.store.get(name)
            if any(p["ModelPackageGroupName"] == name for p in self._packages.values()):
                raise ServiceError("ConflictException", f"Model Package Group {name} still has model packages.")
            self.store.delete(name)
        return {}

    def create(self, request: Resource) -> Resource:
        """Register a version; every artifact it names must exist, as SageMaker checks."""
        name = request.get("ModelPackageGroupName")
        if name is None:
            raise validation("The embedded cloud registers versioned packages only: ModelPackageGroupName is required.")
        containers = request.get("InferenceSpecification", {}).get("Containers", [])
        if not containers:
            raise validation("InferenceSpecification with a container is required.")
        for container in containers:
            self._require_artifact(container.get("ModelDataUrl", ""))
        with self.store.lock:
            self.store.get(name)
            token = request.get("ClientToken")
            for package in self._packages.values():
                if token is not None and package.get("ClientToken") == token:
                    return {"ModelPackageArn": package["ModelPackageArn"]}
            versions = [p["ModelPackageVersion"] for p in self._packages.values() if p["ModelPackageGroupName"] == name]
            version = max(versions, default=0) + 1
            package_arn = arn("model-package", f"{name}/{version}")
            now = time.time()
            self._packages[package_arn] = {
                "ModelApprovalStatus": "PendingManualApproval",
                **request,
                "ModelPackageArn": package_arn,
                "ModelPackageVersion": version,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": []},
                "CreationTime": now,
                "LastModifiedTime": now,
            }
        self._tell(package_arn)
        return {"ModelPackageArn": package_arn}

    def list_packages(self, request: Resource) -> Resource:
        """Package summaries of a group, newest first unless asked otherwise."""
        with self.store.lock:
            found = list(self._packages.values())
        for key in ("ModelPackageGroupName", "ModelApprovalStatus"):
            if key in request:
                wanted = plain_name(request[key])
                found = [p for p in found if p[key] == wanted]
        return page(found, request, "ModelPackageGroupName", _SUMMARY, "ModelPackageSummaryList")

    def update(self, request: Resource) -> Resource:
        """Approve, reject, or change the metadata of a package."""
        with self.store.lock:
            package = self._package(request["ModelPackageArn"])
            for key in ("ModelApprovalStatus", "ApprovalDescription", "ModelLifeCycle", "InferenceSpecification"):
                if key in request:
                    package[key] = request[key]
            metadata = {
                **package.get("CustomerMetadataProperties", {}),
                **request.get("CustomerMetadataProperties", {}),
            }
            for key in request.get("CustomerMetadataPropertiesToRemove", []):
                metadata.pop(key, None)
            package["CustomerMetadataProperties"] = metadata
            package["LastModifiedTime"] = time.time()
            package_arn: str = package["ModelPackageArn"]
        self._tell(package_arn)
        return {"ModelPackageArn": package_arn}

    def delete(self, request: Resource) -> Resource:
        """Remove a package."""
        with self.store.lock:
            package = self._package(request["ModelPackageName"])
            del self._packages[package["ModelPackageArn"]]
        return {}

    def _package(self, name: str) -> Resource:
        with self.store.lock:
            if name not in self._packages:
                raise not_found("model package", name)
            return self._packages[name]

    def _require_artifact(self, url: str) -> None:
        bucket, key = bucket_and_key(url)
        try:
            self.clients("s3").head_object(Bucket=bucket, Key=key)
        except Exception as error:
            raise validation(f"Could not access model data at {url or '(no ModelDataUrl)'}: {error}") from error

    def _tell(self, package_arn: str) -> None:
        with self.store.lock:
            package = self._packages[package_arn]
            fields = (*_SUMMARY, "ApprovalDescription", "CustomerMetadataProperties", "InferenceSpecification")
            detail = {f: package[f] for f in fields if f in package}
        self.announce(STATE_CHANGE, package_arn, detail)
