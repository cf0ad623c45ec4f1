"""Promotions in the controls table, and the candidates they are about."""

import json
from typing import Any

from botocore.exceptions import ClientError

from treeline.app.promote.progress import Candidate, Progress, PromotionError
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.registry import ModelRegistry
from treeline.aws.retries import error_code
from treeline.core.errors import ModelMismatchError

_CURRENT = {"kind": {"S": "promotion"}, "id": {"S": "current"}}
_KIND = "promoted-model"


class PromotionTable:
    """The promotion under way; its execution is asked of Step Functions."""

    def __init__(self, dynamodb: DynamoDBClient, states: Any, *, table: str) -> None:
        self._dynamodb = dynamodb
        self._states = states
        self._table = table

    def load(self) -> Progress | None:
        """The promotion under way, or the last one that ended."""
        item = self._dynamodb.get_item(TableName=self._table, Key=_CURRENT, ConsistentRead=True).get("Item")
        return None if item is None else Progress.from_json(json.loads(item["progress"]["S"]))

    def save(self, progress: Progress) -> None:
        """Keep it; `stage` is also an attribute of its own, for people who look at the table."""
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                **_CURRENT,
                "model_version": {"S": progress.candidate.model_version},
                "stage": {"S": progress.stage.value},
                "progress": {"S": json.dumps(progress.to_json())},
            },
        )

    def is_running(self, execution: str) -> bool:
        """Whether that execution is still at work; one that Step Functions has forgotten is not."""
        try:
            answer = self._states.describe_execution(executionArn=execution)
        except ClientError as error:
            if error_code(error) in {"ExecutionDoesNotExist", "InvalidArn"}:
                return False
            raise
        return bool(answer["status"] in ("RUNNING", "PENDING_REDRIVE"))


class CandidateModels:
    """Candidates from the registry, and those promoted before from the controls table."""

    def __init__(self, dynamodb: DynamoDBClient, registry: ModelRegistry, *, table: str) -> None:
        self._dynamodb = dynamodb
        self._registry = registry
        self._table = table

    def candidate(self, package_arn: str) -> Candidate:
        """The model of a package; raises PromotionError where there is none, or one that is not complete."""
        try:
            found = self._registry.get(package_arn)
        except ModelMismatchError as error:
            raise PromotionError(str(error)) from error
        except ClientError as error:
            if error_code(error) in {"ValidationException", "ResourceNotFound"}:
                raise PromotionError(f"no model package {package_arn}") from error
            raise
        return Candidate(
            model_version=found.model_version,
            package_key=found.package_key,
            package_arn=found.arn,
            image=found.image,
            model_data_url=found.model_data_url,
        )

    def known(self, model_version: str) -> Candidate:
        """A model promoted before; raises PromotionError for one that was not."""
        candidate = promoted_model(self._dynamodb, self._table, model_version)
        if candidate is None:
            raise PromotionError(f"model {model_version} was not promoted here before")
        return candidate

    def remember(self, candidate: Candidate) -> None:
        """Keep what a roll-back to this model will need."""
        body = {
            "model_version": candidate.model_version,
            "package_key": candidate.package_key,
            "package_arn": candidate.package_arn,
            "image": candidate.image,
            "model_data_url": candidate.model_data_url,
            "model_name": candidate.model_name,
        }
        self._dynamodb.put_item(
            TableName=self._table, Item={**_key(candidate.model_version), "candidate": {"S": json.dumps(body)}}
        )


def promoted_model(dynamodb: DynamoDBClient, table: str, model_version: str) -> Candidate | None:
    """A model promoted before, as `CandidateModels.remember` keeps it; None for one that was not."""
    item = dynamodb.get_item(TableName=table, Key=_key(model_version), ConsistentRead=True).get("Item")
    return None if item is None else Candidate(**json.loads(item["candidate"]["S"]))


class RequiredArtifacts:
    """Whether what a candidate is made of is there."""

    def __init__(self, artifacts: ModelArtifacts) -> None:
        self._artifacts = artifacts

    def require(self, candidate: Candidate) -> None:
        """Raises PromotionError naming the artifact that is missing."""
        if candidate.model_data_url and not self._artifacts.exists(candidate.model_data_url):
            raise PromotionError(f"model {candidate.model_version}: no model data at {candidate.model_data_url}")


def _key(model_version: str) -> dict[str, Any]:
    return {"kind": {"S": _KIND}, "id": {"S": model_version}}
