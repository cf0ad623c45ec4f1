"""An observation: what one server measured at one time."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One server's metrics at one time.

    `metrics` holds finite floats in each metric's own unit, known names only; a missing metric (absent or null
    in the record) is not in it. `observed_at_ms` is milliseconds since the epoch.
    """

    server_id: str
    observed_at_ms: int
    metrics: dict[str, float]
    labels: dict[str, str] = field(default_factory=dict)
