"""The active model: a pointer in the controls table, the package in S3."""

from typing import TYPE_CHECKING

from treeline.core.package import ModelPackage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

ACTIVE_KEY = {"kind": {"S": "model"}, "id": {"S": "active"}}


class ModelStore:
    """Follows the pointer at every tick, loads a package once a worker."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        s3: "S3Client",
        *,
        controls_table: str,
        bucket: str,
        metrics: tuple[str, ...] | None = None,
    ) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._controls_table = controls_table
        self._bucket = bucket
        self._metrics = metrics
        self._loaded: tuple[str, ModelPackage] | None = None

    def active(self) -> ModelPackage | None:
        """The active package; None before the first model. Raises ModelMismatchError if it does not fit."""
        item = self._dynamodb.get_item(TableName=self._controls_table, Key=ACTIVE_KEY, ConsistentRead=True).get("Item")
        if item is None:
            return None
        key = item["package_key"]["S"]
        if self._loaded is None or self._loaded[0] != key:
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            package = ModelPackage.from_bytes(body)
            if self._metrics is not None:
                package.require_metrics(self._metrics)
            self._loaded = (key, package)
        return self._loaded[1]

    def activate(self, package: ModelPackage) -> str:
        """Store a package and point detection at it; returns its key."""
        key = f"packages/{package.model_version}.zip"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=package.to_bytes())
        self._dynamodb.put_item(
            TableName=self._controls_table,
            Item={**ACTIVE_KEY, "model_version": {"S": package.model_version}, "package_key": {"S": key}},
        )
        return key
