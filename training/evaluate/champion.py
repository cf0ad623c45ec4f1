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
    """The active model's package, where its forest is, and the container that reads it."""

    package: ModelPackage
    model_data_url: str
    image: str

    @property
    def learned_until_ms(self) -> int:
        """Event time of the newest observation that it was made of."""
        return int(self.package.seeds.last_at.max())


@dataclass(frozen=True, slots=True)
class Champions:
    """Looks the champion up."""

    client: Callable[[str], Any]  # boto3 clients by service
    controls_table: str  # its pointer
    models_bucket: str  # its package
    group: str  # the registry's, which knows its forest

    def current(self, metrics: tuple[str, ...], holdout_from_ms: int) -> tuple[Champion | None, str]:
        """The champion, or None and why there is none to compare with in what is held out from a moment on."""
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
        champion = Champion(package, registered.model_data_url, registered.image)
        if champion.learned_until_ms >= holdout_from_ms:
            return None, f"champion {version} has learned some of the held-out part, so it was not compared with"
        return champion, ""
