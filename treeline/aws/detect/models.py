"""Which models decide: the pointers in the controls table, the packages in S3."""

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from treeline.app.detect.handover import Pointer
from treeline.app.detect.override import Override
from treeline.app.promote.canary import Canary
from treeline.aws.client_types import DynamoDBClient, S3Client
from treeline.aws.detect.overrides import override_of
from treeline.aws.object_file import ObjectFile
from treeline.aws.retries import error_code
from treeline.core.errors import ModelMismatchError, StateConflictError
from treeline.core.model.package import ModelPackage

ACTIVE_KEY = {"kind": {"S": "model"}, "id": {"S": "active"}}
CANARY_KEY = {"kind": {"S": "model"}, "id": {"S": "canary"}}


class ModelStore:
    """Follows the pointers at every tick, loads a package once a worker.

    Args:
        metrics: What the deployment watches; a package of other metrics is refused.
        reads_whole: False for a function that works on some servers: it reads a package's seeds as they are needed.
    """

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        s3: S3Client,
        *,
        controls_table: str,
        bucket: str,
        metrics: tuple[str, ...] | None = None,
        reads_whole: bool = True,
    ) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._controls_table = controls_table
        self._bucket = bucket
        self._metrics = metrics
        self._reads_whole = reads_whole
        self._packages: dict[str, ModelPackage] = {}
        self._pointer: Pointer | None = None
        self._canary: Canary | None = None
        self._override: Override | None = None

    @property
    def pointer(self) -> Pointer | None:
        """The active model's pointer as `active` or `read` last saw it; None before the first model."""
        return self._pointer

    @property
    def canary(self) -> Canary | None:
        """The canary under way, as `active` or `read` last saw it."""
        return self._canary

    @property
    def override(self) -> Override | None:
        """The newest override, as `active` or `read` last saw it; None before the first."""
        return self._override

    def read(self) -> Pointer | None:
        """Read both pointers and the override at once; the active model's pointer."""
        items = self._dynamodb.query(
            TableName=self._controls_table,
            KeyConditionExpression="kind = :model",
            ExpressionAttributeValues={":model": {"S": "model"}},
            ConsistentRead=True,
        )["Items"]
        by_id = {item["id"]["S"]: item for item in items}
        self._pointer = _pointer(by_id["active"]) if "active" in by_id else None
        self._canary = _canary(by_id["canary"]) if "canary" in by_id else None
        self._override = override_of(by_id["override"]) if "override" in by_id else None
        if self._pointer and self._canary and self._canary.model_version == self._pointer.model_version:
            self._canary = None  # cut over; the canary's item is about to go
        return self._pointer

    def active(self) -> ModelPackage | None:
        """The active package; None before the first model. Raises ModelMismatchError if it does not fit."""
        pointer = self.read()
        return None if pointer is None else self.load(pointer.package_key)

    def load(self, key: str) -> ModelPackage:
        """The package of a key; raises ModelMismatchError where there is none, or one that does not fit."""
        if key not in self._packages:
            try:
                package = self._read(key)
            except ClientError as error:
                if error_code(error) in {"NoSuchKey", "404"}:
                    raise ModelMismatchError(f"no model package at {key}") from error
                raise
            if self._metrics is not None:
                package.require_metrics(self._metrics)
            keep = {p.package_key for p in (self._pointer, self._canary) if p is not None}
            self._packages = {k: v for k, v in self._packages.items() if k in keep} | {key: package}
        return self._packages[key]

    def _read(self, key: str) -> ModelPackage:
        if self._reads_whole:
            return ModelPackage.from_bytes(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        return ModelPackage.open(io.BufferedReader(ObjectFile(self._s3, bucket=self._bucket, key=key)))

    def activate(self, package: ModelPackage, model_data_url: str = "") -> str:
        """Store a package and point detection at it and at its forest, without a canary; returns the package's key."""
        key = f"packages/{package.model_version}.zip"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=package.to_bytes())
        wanted = Pointer(model_version=package.model_version, package_key=key, model_data_url=model_data_url)
        self.point_at(wanted)
        return key

    def point_at(self, wanted: Pointer) -> Pointer:
        """Make a model the active one; pointing at it again only corrects where it is. The pointer as written.

        Raises:
            StateConflictError: Somebody else moved the pointer at the same time.
        """
        now = self.read()
        if now is not None and now.model_version == wanted.model_version:
            # Groups that are still to be handed over need to know from which model.
            wanted = replace(
                wanted,
                activation=now.activation,
                previous_version=now.previous_version,
                previous_package_key=now.previous_package_key,
            )
            if now == wanted:
                return now
        elif now is not None:
            wanted = replace(
                wanted,
                activation=now.activation + 1,
                previous_version=now.model_version,
                previous_package_key=now.package_key,
            )
        fields: dict[str, Any] = {
            "model_version": {"S": wanted.model_version},
            "package_key": {"S": wanted.package_key},
            "activation": {"N": str(wanted.activation)},
        }
        for name, value in (
            ("previous_version", wanted.previous_version),
            ("previous_package_key", wanted.previous_package_key),
            ("target_variant", wanted.target_variant),
            ("package_arn", wanted.package_arn),
            ("model_name", wanted.model_name),
            ("model_data_url", wanted.model_data_url),
        ):
            if value:
                fields[name] = {"S": value}
        expected: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(kind)"}
        if now is not None:
            expected = {
                "ConditionExpression": "model_version = :before",
                "ExpressionAttributeValues": {":before": {"S": now.model_version}},
            }
        try:
            self._dynamodb.put_item(TableName=self._controls_table, Item={**ACTIVE_KEY, **fields}, **expected)
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                raise StateConflictError("the active model was changed by somebody else") from error
            raise
        written = self.read()
        if written is None:
            raise StateConflictError("the active model was taken away")
        return written

    def start_canary(self, canary: Canary) -> Canary:
        """Let a candidate decide beside the active model; starting it again changes nothing. As written."""
        self.read()
        if self._canary is not None and self._canary.model_version == canary.model_version:
            return self._canary
        answer = self._dynamodb.update_item(  # a counter of its own, so that a second canary starts afresh
            TableName=self._controls_table,
            Key={"kind": {"S": "canary-number"}, "id": {"S": "last"}},
            UpdateExpression="ADD #number :one",
            ExpressionAttributeNames={"#number": "number"},
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        item: dict[str, Any] = {
            **CANARY_KEY,
            "model_version": {"S": canary.model_version},
            "package_key": {"S": canary.package_key},
            "target_variant": {"S": canary.target_variant},
            "model_data_url": {"S": canary.model_data_url},
            "reach": {"N": repr(canary.reach)},
            "number": answer["Attributes"]["number"],
        }
        self._dynamodb.put_item(TableName=self._controls_table, Item=item)
        self.read()
        return _canary(item)

    def end_canary(self) -> None:
        """Stop the candidate's deciding; nothing where there is none."""
        self._dynamodb.delete_item(TableName=self._controls_table, Key=CANARY_KEY)
        self._canary = None


def _text(item: Mapping[str, Any], name: str) -> str:
    return str(item[name]["S"]) if name in item else ""


def _pointer(item: Mapping[str, Any]) -> Pointer:
    return Pointer(
        model_version=item["model_version"]["S"],
        package_key=item["package_key"]["S"],
        target_variant=_text(item, "target_variant"),
        activation=int(item["activation"]["N"]) if "activation" in item else 1,
        previous_version=_text(item, "previous_version"),
        previous_package_key=_text(item, "previous_package_key"),
        package_arn=_text(item, "package_arn"),
        model_name=_text(item, "model_name"),
        model_data_url=_text(item, "model_data_url"),
    )


def _canary(item: Mapping[str, Any]) -> Canary:
    return Canary(
        model_version=item["model_version"]["S"],
        package_key=item["package_key"]["S"],
        target_variant=_text(item, "target_variant"),
        model_data_url=_text(item, "model_data_url"),
        reach=float(item["reach"]["N"]),
        number=int(item["number"]["N"]),
    )
