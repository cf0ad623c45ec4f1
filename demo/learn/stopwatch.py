"""Where the wall time of a story goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stopwatch:
    """Seconds by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began

    def rounded(self) -> dict[str, float]:
        """To a tenth of a second, the longest first."""
        return {what: round(spent, 1) for what, spent in sorted(self.seconds.items(), key=lambda item: -item[1])}
