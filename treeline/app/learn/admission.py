"""The gate before the registry: a candidate's artifacts must exist, fit this code, and have passed the evaluation."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from treeline.core.errors import ModelMismatchError
from treeline.core.model.package import ModelPackage

_REQUIRED = ("passed", "reasons", "fingerprint", "model_version")


class ModelsBucket(Protocol):
    """The models bucket."""

    def read(self, key: str) -> bytes | None:
        """An object's content; None when there is none."""

    def exists(self, url: str) -> bool:
        """Whether an s3:// address names an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """What a training run says it has made."""

    model_version: str
    package_key: str
    evaluation_key: str
    model_data_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The outcome; `reasons` says why not, or what was measured."""

    admitted: bool
    reasons: str
    fingerprint: str

    def to_step_output(self) -> dict[str, Any]:
        """As the pipeline's Lambda step gives it on."""
        return {"admitted": int(self.admitted), "reasons": self.reasons, "fingerprint": self.fingerprint}


def admit(candidate: TrainedModel, artifacts: ModelsBucket, metrics: tuple[str, ...]) -> Admission:
    """Check a candidate in the environment that will use it, with the code that will use it.

    Args:
        candidate: What to check.
        artifacts: Where it lies.
        metrics: The deployment's metric set, in order.

    Raises:
        ModelMismatchError: An artifact is missing, or the detector deployed here could not read or use the package.
            The run then fails, as this is our mistake and says nothing of the candidate's quality.
    """
    if not artifacts.exists(candidate.model_data_url):
        raise ModelMismatchError(f"the training job left no model at {candidate.model_data_url}")
    package = ModelPackage.from_bytes(_require(artifacts, candidate.package_key, "model package"))
    package.require_metrics(metrics)
    evaluation = _evaluation(_require(artifacts, candidate.evaluation_key, "evaluation"))
    for name, wanted in (("model_version", candidate.model_version), ("fingerprint", evaluation["fingerprint"])):
        if getattr(package, name) != wanted:
            raise ModelMismatchError(
                f"the package at {candidate.package_key} has {name} {getattr(package, name)}, expected {wanted}"
            )
    if evaluation["model_version"] != candidate.model_version:
        raise ModelMismatchError(
            f"the evaluation is of {evaluation['model_version']}, not of {candidate.model_version}"
        )
    reasons = "; ".join(evaluation["reasons"])
    return Admission(admitted=bool(evaluation["passed"]), reasons=reasons, fingerprint=package.fingerprint)


def _require(artifacts: ModelsBucket, key: str, what: str) -> bytes:
    data = artifacts.read(key)
    if data is None:
        raise ModelMismatchError(f"there is no {what} at {key}")
    return data


def _evaluation(data: bytes) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise ModelMismatchError(f"the evaluation is not JSON: {error}") from error
    missing = [name for name in _REQUIRED if name not in body]
    if missing:
        raise ModelMismatchError(f"the evaluation lacks {', '.join(missing)}")
    return body
