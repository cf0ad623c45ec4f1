"""What a use case writes for operators: numbers by their declaration, and log lines of constant text with fields."""

from collections.abc import Mapping
from typing import Any, Protocol

from treeline.app.metrics import OwnMetric


class Log(Protocol):
    """The function's log."""

    def debug(self, msg: object, **fields: Any) -> None:
        """Detail of one observation or one tick; written on request only."""

    def info(self, msg: object, **fields: Any) -> None:
        """A decision."""

    def warning(self, msg: object, **fields: Any) -> None:
        """Something that mends itself."""

    def error(self, msg: object, **fields: Any) -> None:
        """Something that needs somebody."""

    def exception(self, msg: object, **fields: Any) -> None:
        """The same, with the exception being handled."""


class Telemetry(Protocol):
    """Metrics and log of one function."""

    @property
    def logger(self) -> Log:
        """Its log."""

    def add(self, metric: OwnMetric, value: float = 1) -> None:
        """Add a value to this invocation's; several make a distribution. A zero is worth writing for an alarm."""

    def add_by(self, metric: OwnMetric, values: Mapping[str, float]) -> None:
        """Write a metric once per value of its further dimension (`OwnMetric.by`)."""
