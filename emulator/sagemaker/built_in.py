"""A stand-in for SageMaker's built-in Random Cut Forest: documented input and answers, an artifact nobody else reads.

Inside it is a forest of ours, since AWS's container cannot be had. What it does differently from ours it does on
purpose, so that nothing of ours comes to rely on what only our container does: no seed, another scale of scores, an
artifact that none of our readers understands. What AWS says, and does not: docs/decisions/0132-built-in-algorithm.md.
"""

import hashlib
import io
import secrets
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.sagemaker.built_in_contract import check_instance
from treeline.core.errors import ModelMismatchError
from treeline.forest import content
from treeline.forest.forest import RandomCutForest
from treeline.forest.invocation import refuse, respond
from treeline.forest.storage import load, save
from treeline.forest.training import fit_channel

MEMBER = "model_algo-1"  # what a built-in algorithm's model.tar.gz holds, says "Common data formats for training"
# AWS's scores were 1.03 to 1.22 times those of its open-source forest (docs/decisions/0003-forest.md).
SCALE = 1.1
_KEY = b"the inside of SageMaker's artifact is not ours to read"


@dataclass(frozen=True, slots=True)
class BuiltInForest:
    """The container as it serves."""

    forest: RandomCutForest

    @classmethod
    def serving(cls, instance_type: str, artifact: bytes) -> Self:
        """Load what `train` left; raises ModelMismatchError for anything else, JobRefusedError for the instance."""
        check_instance(instance_type)
        loaded = cls(_unsealed(artifact))
        loaded.score(np.zeros((1, loaded.forest.feature_dim)))  # compiles, so that no invocation waits for it
        return loaded

    def answer(self, content_type: str, accept: str, body: bytes) -> tuple[int, str, bytes]:
        """See `emulator.sagemaker.containers.Container`."""
        _, parameters = content.media_type(content_type)
        if parameters.get("label_size", "0") != "0":
            return refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"rows to score have no label, got {content_type}")
        if not body.strip():
            return refuse(HTTPStatus.BAD_REQUEST, "the body holds no rows")
        return respond(self, content_type, accept, body)

    def score(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Scores (n,) of rows (n, feature_dim), as float32 holds them: the widest that the documented answers carry."""
        return (SCALE * self.forest.score(rows)).astype(np.float32).astype(np.float64)


def train(files: Iterable[tuple[str, bytes]], hyperparameters: Mapping[str, str]) -> bytes:
    """The model.tar.gz of a checked job's files; raises UsageError where they are not as `feature_dim` says.

    Two jobs on the same data give two different models: the algorithm has no seed.
    """
    return _sealed(fit_channel(files, hyperparameters, secrets.randbits(31)))


def _sealed(forest: RandomCutForest) -> bytes:
    npz = io.BytesIO()
    save(forest, npz)
    sealed = _masked(npz.getvalue())
    member = tarfile.TarInfo(MEMBER)
    member.size = len(sealed)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        archive.addfile(member, io.BytesIO(sealed))
    return out.getvalue()


def _unsealed(artifact: bytes) -> RandomCutForest:
    try:
        with tarfile.open(fileobj=io.BytesIO(artifact), mode="r:gz") as archive:
            member = archive.extractfile(MEMBER)
            sealed = member.read() if member is not None else b""
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise ModelMismatchError(f"not an artifact of the built-in algorithm: {error}") from error
    return load(io.BytesIO(_masked(sealed)))


def _masked(data: bytes) -> bytes:
    """Hides, and shows again, what is inside. No secret: our own readers just must not understand it by chance."""
    mask = np.frombuffer(hashlib.shake_256(_KEY).digest(len(data)), dtype=np.uint8)
    return (np.frombuffer(data, dtype=np.uint8) ^ mask).tobytes()
