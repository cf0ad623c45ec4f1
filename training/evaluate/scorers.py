"""How a training run asks a trained model for scores: our own forest in this process, any other at a passing endpoint.

SageMaker's built-in algorithm leaves an artifact that only its own container can read. Calibration and evaluation need
millions of its scores, in several rounds that depend on each other, so it is hosted for as long as the step runs; a
batch transform job would take minutes to start for each round.
"""

import io
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.prepare.calibrating import Score
from treeline.aws.detect.endpoint import Endpoint
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError
from treeline.core.payload import score_rows
from treeline.core.statistics import FloatArray
from treeline.forest.storage import MEMBER, read_model_tar

PREFIX = "treeline-evaluate-"  # of endpoints that live as long as an Evaluate step
PARALLEL = 8  # requests at once, of as many rows as detect sends; a boto3 client keeps ten connections
_START_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class TrainedScorer:
    """A trained model's score function."""

    score: Score
    samples_per_tree: int | None  # None where the artifact is closed to us


@dataclass(slots=True)
class Scorers:
    """Makes score functions of model artifacts; a context that takes down what it hosted."""

    client: Callable[[str], Any]  # boto3 clients by service
    name: str  # of this run; names what is hosted
    role_arn: str  # what a container that is hosted runs as
    instance_type: str  # where it runs
    poll_s: float = 5.0  # between two looks at an endpoint that starts
    _hosted: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Nothing is hosted before it is asked for."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything down."""
        sagemaker = self.client("sagemaker")
        for name in self._hosted:
            sagemaker.delete_endpoint(EndpointName=name)
            sagemaker.delete_endpoint_config(EndpointConfigName=name)
            sagemaker.delete_model(ModelName=name)
        self._hosted.clear()

    def of_artifact(self, folder: Path, url: str, image: str) -> TrainedScorer:
        """The scorer of the training job's artifact, a copy of which is in `folder`; `image` reads it."""
        files = sorted(folder.rglob("*.tar.gz"))
        if len(files) != 1:
            raise ModelMismatchError(f"expected one model.tar.gz from {url}, found {[f.name for f in files]}")
        return self._of_bytes(files[0].read_bytes(), url, image)

    def of_url(self, url: str, image: str) -> Score:
        """The score function of an artifact in S3, which the container of `image` reads."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return self._of_bytes(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read(), url, image).score

    def _of_bytes(self, data: bytes, url: str, image: str) -> TrainedScorer:
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                is_ours = any(Path(name).name == MEMBER for name in archive.getnames())
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ModelMismatchError(f"the model at {url} is no model.tar.gz: {error}") from error
        if not is_ours:
            return TrainedScorer(self._endpoint_score(url, image), None)
        forest = read_model_tar(data)
        return TrainedScorer(forest.score, forest.num_samples_per_tree)

    def _endpoint_score(self, url: str, image: str) -> Score:
        endpoint = Endpoint(self.client("sagemaker-runtime"), self._host(url, image))

        def score(rows: npt.NDArray[np.float32]) -> FloatArray:
            with ThreadPoolExecutor(PARALLEL) as pool:
                asked = pool.map(partial(score_rows, endpoint.score), np.array_split(rows, PARALLEL))
                return np.concatenate(list(asked))

        return score

    def _host(self, url: str, image: str) -> str:
        sagemaker = self.client("sagemaker")
        # At most 63 characters. The end is kept: there a model's name has the execution that makes it unique.
        name = f"{PREFIX}{self.name[-42:].lstrip('-')}-{len(self._hosted)}"
        sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=self.role_arn, PrimaryContainer={"Image": image, "ModelDataUrl": url}
        )
        variant = {
            "VariantName": "all",
            "ModelName": name,
            "InitialInstanceCount": 1,
            "InstanceType": self.instance_type,
            "InitialVariantWeight": 1.0,
        }
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self._hosted.append(name)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while (status := sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]) != "InService":
            if status == "Failed" or time.monotonic() > deadline:
                raise ScorerUnavailableError(f"the endpoint {name} that would score for this run is {status}")
            time.sleep(self.poll_s)
        return name
