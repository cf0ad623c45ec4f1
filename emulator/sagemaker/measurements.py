"""AWS/SageMaker metrics of invocations by variant, as SageMaker publishes them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ministack.core.responses import request_scope
from ministack.services import cloudwatch

from emulator.loopback.environment import ACCOUNT_ID, REGION
from emulator.sagemaker.errors import ServiceError


@dataclass(slots=True)
class Measured:
    """One invocation; whoever serves it says which variant did."""

    variant: str = ""


class InvocationMetrics:
    """Counts and times invocations; an error before a variant was chosen goes to the last one that served."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    @contextmanager
    def of(self, endpoint: str) -> Iterator[Measured]:
        """Measure the block as one invocation of `endpoint`."""
        began = time.perf_counter()
        measured = Measured()
        status = 200
        try:
            yield measured
        except ServiceError as error:
            status = error.status
            raise
        finally:
            variant = measured.variant or self._last.get(endpoint, "")
            if variant:
                self._last[endpoint] = variant
                self._publish(endpoint, variant, (time.perf_counter() - began) * 1e6, status)

    def _publish(self, endpoint: str, variant: str, latency_us: float, status: int) -> None:
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        with request_scope(ACCOUNT_ID, REGION):
            for name, value, unit in (
                ("Invocations", 1.0, "None"),
                ("ModelLatency", latency_us, "Microseconds"),
                ("Invocation4XXErrors", float(400 <= status < 500), "None"),
                ("Invocation5XXErrors", float(status >= 500), "None"),
            ):
                cloudwatch.record_metric("AWS/SageMaker", name, value, unit, dimensions)
