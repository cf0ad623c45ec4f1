"""Whether the model endpoint can answer, as SageMaker says; apart from endpoint.py, so reprocess loads no numpy."""

from botocore.exceptions import ClientError

from treeline.aws.client_types import SageMakerClient
from treeline.aws.retries import error_code


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
