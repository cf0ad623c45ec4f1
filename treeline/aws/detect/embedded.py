"""A model's forest in this function: read from S3 once a worker, asked without any endpoint."""

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from treeline.aws.client_types import S3Client
from treeline.core.errors import ModelMismatchError, ScorerContractError, ScorerUnavailableError
from treeline.core.statistics import FloatArray

Forest = Callable[[FloatArray], FloatArray]  # scores (n,) of rows (n, features)
_KEPT = 2  # the champion's and, during a canary, the candidate's: a forest takes tens of megabytes


class ModelForests:
    """The forests of the models that decide, by the address of their model.tar.gz."""

    def __init__(self, s3: S3Client, open_forest: Callable[[bytes], Forest]) -> None:
        """`open_forest` reads a model.tar.gz; raises ModelMismatchError where it holds no forest of ours."""
        self._s3 = s3
        self._open = open_forest
        self._kept: dict[str, Forest] = {}  # the one asked last stands last

    def of(self, url: str) -> Forest:
        """The forest at an s3:// address.

        Raises:
            ScorerUnavailableError: S3 does not give it now.
            ScorerContractError: There is no address, or no forest of ours at it.
        """
        forest = self._kept.pop(url, None) or self._read(url)
        self._kept = dict([*list(self._kept.items())[1 - _KEPT :], (url, forest)])
        return forest

    def _read(self, url: str) -> Forest:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        if not key:
            raise ScorerContractError(f"the model names no forest to score with, but {url!r}: promote it anew")
        try:
            return self._open(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except (ClientError, BotoCoreError) as error:
            raise ScorerUnavailableError(f"the forest at {url}: {error}") from error
        except ModelMismatchError as error:
            raise ScorerContractError(f"the forest at {url}: {error}") from error


@dataclass(frozen=True, slots=True)
class EmbeddedScorer:
    """Scores with a model's forest; see `treeline.app.detect.ports.Scorer`."""

    forests: ModelForests
    url: Callable[[], str]  # where the forest lies that is meant now

    def score(self, rows: FloatArray) -> FloatArray:
        """Scores (n,) of finite float32 rows (n, features); raises as `ModelForests.of` does."""
        forest = self.forests.of(self.url())
        try:
            return forest(rows)
        except ValueError as error:
            raise ScorerContractError(f"the forest at {self.url()} refused the rows: {error}") from error
