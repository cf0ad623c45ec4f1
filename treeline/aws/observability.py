"""Logs and metrics of every function: Powertools underneath, one shape for all five.

Logs are JSON with `service`, `stage` and `function_request_id`; metrics are EMF in the namespace Treeline with the
dimensions `service` and `stage`, and at most one more of low cardinality. A server never is a dimension: each
combination is billed as a metric of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "Treeline"


class Telemetry:
    """The logger and the metrics of one function.

    Args:
        service: The function's name, such as `ingest`.
        stage: The deployment's stage, such as `prod`.
    """

    def __init__(self, service: str, stage: str) -> None:
        self._service = service
        self._stage = stage
        self.logger = Logger(service=service)
        self.logger.append_keys(stage=stage)
        self._metrics = Metrics(namespace=NAMESPACE, service=service)
        self._metrics.set_default_dimensions(stage=stage)

    @contextmanager
    def invocation(self, context: object) -> Iterator[None]:
        """Wrap one invocation: its request id on every log line, an error logged, the metrics written at its end."""
        request_id = getattr(context, "aws_request_id", None)
        self.logger.append_keys(function_request_id=request_id)
        try:
            yield
        except Exception as error:
            # The entry point: said once in our own shape, then Lambda's to retry.
            self.logger.exception("invocation failed", error_type=type(error).__name__)
            self.count("InvocationsFailed")
            raise
        finally:
            if self._metrics.metric_set:
                self._metrics.flush_metrics()

    def count(self, name: str, value: float = 1) -> None:
        """Add to a metric of this invocation; zero is worth writing where an alarm watches for it."""
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)

    def count_by(self, name: str, dimension: str, values: Mapping[str, float]) -> None:
        """Write a metric once per value of a further dimension, which has few values (a reason, a cause)."""
        for key, value in values.items():
            with single_metric(
                name=name,
                unit=MetricUnit.Count,
                value=value,
                namespace=NAMESPACE,
                default_dimensions={"service": self._service, "stage": self._stage},
            ) as metric:
                metric.add_dimension(name=dimension, value=key)

    def milliseconds(self, name: str, value: float) -> None:
        """Add a duration to this invocation's metrics; called repeatedly it makes a distribution."""
        self._metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=value)

    def gauge(self, name: str, value: float) -> None:
        """Add a number without a unit."""
        self._metrics.add_metric(name=name, unit=MetricUnit.NoUnit, value=value)
