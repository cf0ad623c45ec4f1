"""Logs and metrics of every function: Powertools underneath, one shape for all.

Logs are JSON with `service`, `stage` and `function_request_id`; metrics are EMF in the namespace Treeline with the
dimensions `service` and `stage`, and at most one more of low cardinality. A server never is a dimension: each
combination is billed as a metric of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from treeline.app.metrics import NAMESPACE, OwnMetric


class EmfTelemetry:
    """The logger and the metrics of one function (`service`, such as `ingest`); see `treeline.app.telemetry`."""

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
            # The entry point: log the error once in our own form, then let Lambda retry.
            self.logger.exception("invocation failed", error_type=type(error).__name__)
            self.add(OwnMetric.InvocationsFailed)
            raise
        finally:
            if self._metrics.metric_set:
                self._metrics.flush_metrics()

    def add(self, metric: OwnMetric, value: float = 1) -> None:
        """See `Telemetry.add`."""
        self._metrics.add_metric(name=metric.name, unit=MetricUnit(metric.unit.value), value=value)

    def add_by(self, metric: OwnMetric, values: Mapping[str, float]) -> None:
        """See `Telemetry.add_by`."""
        for key, value in values.items():
            with single_metric(
                name=metric.name,
                unit=MetricUnit(metric.unit.value),
                value=value,
                namespace=NAMESPACE,
                default_dimensions={"service": self._service, "stage": self._stage},
            ) as single:
                single.add_dimension(name=metric.by, value=key)
