"""The model endpoint: rows in, scores out."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from treeline.aws.client_types import SageMakerRuntimeClient
from treeline.core.errors import ScorerContractError, ScorerUnavailableError
from treeline.core.payload import ACCEPT, CONTENT_TYPE, decode_scores
from treeline.core.statistics import FloatArray


class Endpoint:
    """Scores CSV bodies on a SageMaker endpoint, optionally on one named variant."""

    def __init__(
        self, runtime: SageMakerRuntimeClient, endpoint_name: str, *, target_variant: str | None = None
    ) -> None:
        self._runtime = runtime
        self._endpoint_name = endpoint_name
        self._variant = {"TargetVariant": target_variant} if target_variant else {}

    def score(self, body: bytes, rows: int) -> FloatArray:
        """Scores of a CSV body of `rows` rows.

        Raises:
            ScorerUnavailableError: No answer now (not there, throttled, overloaded, unreachable, container failed).
            ScorerContractError: The container refused the body, or answered something else than scores.
        """
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self._endpoint_name, ContentType=CONTENT_TYPE, Accept=ACCEPT, Body=body, **self._variant
            )
            return decode_scores(answer["Body"].read(), rows)
        except ClientError as error:
            refused = error.response.get("OriginalStatusCode")  # set on ModelError: what the container said
            if isinstance(refused, int) and 400 <= refused < 500:
                raise ScorerContractError(f"endpoint {self._endpoint_name} refused the rows: {error}") from error
            raise ScorerUnavailableError(f"endpoint {self._endpoint_name}: {error}") from error
        except BotoCoreError as error:
            raise ScorerUnavailableError(f"endpoint {self._endpoint_name}: {error}") from error


class PointedEndpoint:
    """Scores on the variant that hosts the active model, whichever that is at the moment of the call.

    Args:
        runtime: The client.
        endpoint_name: The endpoint.
        variant: The variant's name; empty or None leaves the choice to the endpoint's weights.
    """

    def __init__(
        self, runtime: SageMakerRuntimeClient, endpoint_name: str, *, variant: Callable[[], str | None]
    ) -> None:
        self._runtime = runtime
        self._endpoint_name = endpoint_name
        self._variant = variant

    def score(self, body: bytes, rows: int) -> FloatArray:
        """See `Endpoint.score`."""
        return Endpoint(self._runtime, self._endpoint_name, target_variant=self._variant() or None).score(body, rows)
