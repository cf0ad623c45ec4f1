"""The model endpoint: rows in, scores out; and whether it can answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from treeline.aws.client_types import SageMakerClient, SageMakerRuntimeClient
from treeline.aws.retries import error_code
from treeline.core.errors import ScorerContractError, ScorerUnavailableError
from treeline.core.payload import ACCEPT, CONTENT_TYPE, decode_scores
from treeline.core.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Scores CSV bodies on a SageMaker endpoint."""

    runtime: SageMakerRuntimeClient
    endpoint_name: str
    # Names, at each call, the variant to ask; None or empty leaves the choice to the endpoint's weights.
    variant: Callable[[], str | None] = lambda: None

    def score(self, body: bytes, rows: int) -> FloatArray:
        """Scores of a CSV body of `rows` rows.

        Raises:
            ScorerUnavailableError: No answer now (not there, throttled, overloaded, unreachable, container failed).
            ScorerContractError: The container refused the body, or answered something else than scores.
        """
        target: dict[str, Any] = {"TargetVariant": variant} if (variant := self.variant()) else {}
        try:
            answer = self.runtime.invoke_endpoint(
                EndpointName=self.endpoint_name, ContentType=CONTENT_TYPE, Accept=ACCEPT, Body=body, **target
            )
            return decode_scores(answer["Body"].read(), rows)
        except ClientError as error:
            refused = error.response.get("OriginalStatusCode")  # set on ModelError: what the container said
            if isinstance(refused, int) and 400 <= refused < 500:
                raise ScorerContractError(f"endpoint {self.endpoint_name} refused the rows: {error}") from error
            raise ScorerUnavailableError(f"endpoint {self.endpoint_name}: {error}") from error
        except BotoCoreError as error:
            raise ScorerUnavailableError(f"endpoint {self.endpoint_name}: {error}") from error


class SageMakerEndpointStatus:
    """Asks for the endpoint's status by name."""

    def __init__(self, client: SageMakerClient, *, endpoint_name: str) -> None:
        self._client = client
        self._endpoint_name = endpoint_name

    def status(self) -> str | None:
        """SageMaker's EndpointStatus; None when there is no endpoint of this name."""
        try:
            return self._client.describe_endpoint(EndpointName=self._endpoint_name)["EndpointStatus"]
        except ClientError as error:
            # SageMaker has no code of its own for a name it does not know.
            if error_code(error) in {"ValidationException", "ResourceNotFound"}:
                return None
            raise
