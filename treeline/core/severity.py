"""The fixed severity scale: P2 is 1.5 to 3.0 and P1 above 3.0, on every fleet and for every model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from treeline.core.alert import P1_SEVERITY as P1_SEVERITY
from treeline.core.alert import P2_SEVERITY as P2_SEVERITY
from treeline.core.errors import SettingsError
from treeline.core.statistics import FloatArray

LARGEST_SEVERITY = 30.0  # a server that never moved has no spread to measure its first movement in


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a channel's own measure (in its own standard deviations) meets the fixed scale."""

    p2: float  # the measure that means severity 1.5
    p1: float  # the measure that means severity 3.0; above p2
    # What one decade of rarity is in the measure: ten times fewer pages. None: not known, so no novelty is asked for.
    decade: float | None = None
    rarity_at_zero: float | None = None  # of a measure of 0; with `decade` it gives the rarity of any measure

    def __post_init__(self) -> None:
        """Check the order."""
        if not 0.0 < self.p2 < self.p1:
            raise SettingsError(f"a channel needs 0 < p2 < p1, got p2={self.p2}, p1={self.p1}")
        if self.decade is not None and not self.decade > 0.0:
            raise SettingsError(f"a decade of rarity needs to be > 0, got {self.decade}")

    def severity(self, measure: FloatArray) -> FloatArray:
        """Piecewise linear: 0 -> 0, p2 -> 1.5, p1 -> 3.0, then 3.0 for each further p1; below 0 is 0."""
        return severity_of(measure.reshape(1, -1), [self]).reshape(measure.shape)

    def rarity(self, measure: float) -> float | None:
        """How rare a measure is in the fleet's past, as -log10 of pages a server-week; None where that is not known."""
        if self.decade is None or self.rarity_at_zero is None:
            return None
        return self.rarity_at_zero + measure / self.decade

    def measure(self, severity: float) -> float:
        """The measure that gives a severity > 0: the inverse of `severity`."""
        if severity < P2_SEVERITY:
            return severity * self.p2 / P2_SEVERITY
        if severity < P1_SEVERITY:
            return self.p2 + (severity - P2_SEVERITY) * (self.p1 - self.p2) / (P1_SEVERITY - P2_SEVERITY)
        return severity * self.p1 / P1_SEVERITY


def severity_of(measures: FloatArray, thresholds: Sequence[Thresholds]) -> FloatArray:
    """Each channel's severity by its own thresholds, see `Thresholds.severity`: all at once, in the measures' type.

    Args:
        measures: Shape (channels, n), each in its channel's standard deviations.
        thresholds: Of the channels, in the same order.

    Returns:
        Shape (channels, n), on the fixed scale.
    """
    knots = [(each.p2, each.p1, each.p1 - each.p2, P2_SEVERITY / each.p2, P1_SEVERITY / each.p1) for each in thresholds]
    p2, p1, between, below_p2, beyond_p1 = np.array(knots, dtype=measures.dtype).T[..., None]
    lower = np.maximum(measures, 0.0) * below_p2
    middle = P2_SEVERITY + (measures - p2) * (P1_SEVERITY - P2_SEVERITY) / between
    severity: FloatArray = np.where(measures < p2, lower, np.where(measures < p1, middle, measures * beyond_p1))
    return severity
