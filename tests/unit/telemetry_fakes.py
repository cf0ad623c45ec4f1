"""Telemetry that remembers what was written."""

from collections import defaultdict

from treeline.app.metrics import OwnMetric


class MemoryTelemetry:
    """Values by metric, and lines of the log as (level, text, fields)."""

    def __init__(self):
        self.values: dict[OwnMetric, list[float]] = defaultdict(list)
        self.lines: list[tuple[str, str, dict]] = []
        self.logger = self

    def add(self, metric, value=1):
        self.values[metric].append(value)

    def add_by(self, metric, values):
        assert metric.by, f"{metric.name} has no further dimension"
        for value in values.values():
            self.values[metric].append(value)

    def _line(self, level):
        return lambda msg, **fields: self.lines.append((level, msg, fields))

    def __getattr__(self, level):
        if level not in ("debug", "info", "warning", "error", "exception"):
            raise AttributeError(level)
        return self._line(level)
