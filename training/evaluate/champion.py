"""The model in use, for a training run to compare its candidate with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from treeline.aws.detect.models import ACTIVE_KEY
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.registry import ModelRegistry
from treeline.core.errors import ModelMismatchError
from treeline.core.model.package import ModelPackage


@dataclass(frozen=True, slots=True)
class Champion:
    """The active model's package, and where its forest is."""

    package: ModelPackage
    model_data_url: str


@dataclass(frozen=True, slots=True)
class Champions:
    """Looks the champion up.

    Attributes:
        client: boto3 clients by service.
        controls_table: Its pointer.
        models_bucket: Its package.
        group: The registry's group, which knows its forest.
    """

    client: Callable[[str], Any]
    controls_table: str
    models_bucket: str
    group: str

    def current(self, metrics: tuple[str, ...]) -> tuple[Champion | None, str]:
        """The champion, or None and why there is none to compare with."""
        item = self.client("dynamodb").get_item(TableName=self.controls_table, Key=ACTIVE_KEY).get("Item")
        if item is None:
            return None, "first model: nothing to compare with"
        version = item["model_version"]["S"]
        registered = ModelRegistry(self.client("sagemaker"), self.group).find(version)
        if registered is None:
            return None, f"champion {version} is not in the registry, so it was not compared with"
        data = ModelArtifacts(self.client("s3"), self.models_bucket).read(item["package_key"]["S"])
        if data is None:
            return None, f"champion {version} has no package at {item['package_key']['S']}, so it was not compared with"
        try:
            package = ModelPackage.from_bytes(data)
            package.require_metrics(metrics)
        except ModelMismatchError as error:
            return None, f"champion {version} cannot be compared with: {error}"
        return Champion(package, registered.model_data_url), ""
