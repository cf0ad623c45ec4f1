"""What runs behind an image: our container, or the stand-in for SageMaker's built-in Random Cut Forest."""

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emulator.sagemaker.built_in import BuiltInForest
from treeline.forest.forest import RandomCutForest
from treeline.forest.invocation import respond
from treeline.forest.storage import read_model_tar

# As AWS publishes it in each region: <account>.dkr.ecr.<region>.amazonaws.com/randomcutforest:1
_BUILT_IN_IMAGE = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/randomcutforest:1")


class Container(Protocol):
    """A container that serves a model."""

    def answer(self, content_type: str, accept: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body for a request to /invocations; never raises for what a caller sends."""


@dataclass(frozen=True, slots=True)
class OurContainer:
    """container/Dockerfile's `serve`."""

    forest: RandomCutForest

    def answer(self, content_type: str, accept: str, body: bytes) -> tuple[int, str, bytes]:
        """See `Container`."""
        return respond(self.forest, content_type, accept, body)


def is_built_in(image: str) -> bool:
    """Whether an image is SageMaker's Random Cut Forest."""
    return _BUILT_IN_IMAGE.fullmatch(image) is not None


def serving(image: str, instance_type: str, artifact: bytes) -> Container:
    """The container of `image` with a model.tar.gz loaded, warm.

    Raises:
        ModelMismatchError: The artifact is not this container's, or damaged.
        JobRefusedError: The built-in algorithm does not run on this instance type.
    """
    if is_built_in(image):
        return BuiltInForest.serving(instance_type, artifact)
    forest = read_model_tar(artifact)
    forest.score(np.zeros((1, forest.feature_dim)))  # compiles, so that no invocation waits for it
    return OurContainer(forest)
