"""What the embedded cloud has delivered, counted, for the report and for tests."""

import threading
from collections import Counter

from ministack.services import cloudwatch

from emulator.delivery.invocation import SourceMapping


class Counters:
    """Thread-safe counters by name."""

    def __init__(self) -> None:
        self._values: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, amount: int = 1) -> None:
        """Count `amount` more."""
        with self._lock:
            self._values[name] += amount

    def snapshot(self) -> dict[str, int]:
        """All counters now."""
        with self._lock:
            return dict(self._values)

    def iterator_age(self, mapping: SourceMapping, age_ms: float) -> None:
        """Publish AWS/Lambda IteratorAge of a batch about to be delivered, ms."""
        with mapping.scope():
            dimensions = {"FunctionName": mapping.function_name}
            cloudwatch.record_metric("AWS/Lambda", "IteratorAge", age_ms, "Milliseconds", dimensions)
