"""The model endpoint: rows in, scores out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from treeline.aws.client_types import SageMakerRuntimeClient
from treeline.core.errors import ScorerContractError, ScorerUnavailableError
from treeline.core.payload import ACCEPT, CONTENT_TYPE, csv_body, decode_scores
from treeline.core.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Scores on a SageMaker endpoint; see `treeline.app.detect.ports.Scorer`."""

    runtime: SageMakerRuntimeClient
    endpoint_name: str
    # Names, at each call, the variant to ask; None or empty leaves the choice to the endpoint's weights.
    variant: Callable[[], str | None] = lambda: None

    def score(self, rows: FloatArray) -> FloatArray:
        """Scores (n,) of finite float32 rows (n, features), in one request.

        Raises:
            ScorerUnavailableError: No answer now (not there, throttled, overloaded, unreachable, container failed).
            ScorerContractError: The container refused the body, or answered something else than scores.
        """
        target: dict[str, Any] = {"TargetVariant": variant} if (variant := self.variant()) else {}
        try:
            answer = self.runtime.invoke_endpoint(
                EndpointName=self.endpoint_name, ContentType=CONTENT_TYPE, Accept=ACCEPT, Body=csv_body(rows), **target
            )
            return decode_scores(answer["Body"].read(), len(rows))
        except ClientError as error:
            refused = error.response.get("OriginalStatusCode")  # set on ModelError: what the container said
            if isinstance(refused, int) and 400 <= refused < 500:
                raise ScorerContractError(f"endpoint {self.endpoint_name} refused the rows: {error}") from error
            raise ScorerUnavailableError(f"endpoint {self.endpoint_name}: {error}") from error
        except BotoCoreError as error:
            raise ScorerUnavailableError(f"endpoint {self.endpoint_name}: {error}") from error
