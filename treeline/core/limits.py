"""Which values can be and which deviations matter: each metric's declared limits, held against arrays of values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from treeline.core.profile import Direction, Metric
from treeline.core.statistics import FloatArray

BoolArray = npt.NDArray[np.bool_]

# With a twentieth or less of what is usual left, something has stopped, however little it usually does.
NOTHING_LEFT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricLimits:
    """What is declared for a metric set, as arrays of shape (metrics,) in the set's order."""

    minimum: FloatArray  # smallest possible value, -inf where none is declared
    maximum: FloatArray  # largest possible value, inf where none is declared
    lowest_clamped: FloatArray  # smallest value that is taken as `minimum`; one below it is no measurement
    highest_clamped: FloatArray  # largest value that is taken as `maximum`
    minimum_deviation: FloatArray  # in the metric's unit; 0 where none is declared
    minimum_relative_deviation: FloatArray  # share of the expected value; 0 where none is declared
    saturated_above: FloatArray  # inf where none is declared
    counts_above: BoolArray  # whether a value above its band matters
    counts_below: BoolArray  # whether a value below its band matters

    @classmethod
    def by_name(cls, names: Sequence[str], declared: Mapping[str, Metric]) -> Self:
        """The limits of metrics in this order; of one that is not declared everything counts."""
        return cls.of([declared.get(name) or Metric(name=name) for name in names])

    @classmethod
    def of(cls, metrics: Sequence[Metric]) -> Self:
        """The limits of these metrics; of one without a declaration, `Metric(name=...)`, everything counts."""

        def column(name: str) -> FloatArray:
            return np.array([getattr(metric, name) for metric in metrics], dtype=np.float64)

        saturated = [math.inf if metric.saturated_above is None else metric.saturated_above for metric in metrics]
        return cls(
            minimum=column("minimum"),
            maximum=column("maximum"),
            lowest_clamped=np.array([metric.clamped_range[0] for metric in metrics], dtype=np.float64),
            highest_clamped=np.array([metric.clamped_range[1] for metric in metrics], dtype=np.float64),
            minimum_deviation=column("minimum_deviation"),
            minimum_relative_deviation=column("minimum_relative_deviation"),
            saturated_above=np.array(saturated, dtype=np.float64),
            counts_above=np.array([metric.direction is not Direction.DOWN for metric in metrics], dtype=np.bool_),
            counts_below=np.array([metric.direction is not Direction.UP for metric in metrics], dtype=np.bool_),
        )


def possible_values(values: FloatArray, limits: MetricLimits) -> FloatArray:
    """Values of a history as ingest would store them: a little beyond the declared range clamped, else NaN.

    Args:
        values: Shape (n, metrics), each metric in its own unit; NaN where missing.
        limits: Of the same metrics in the same order.

    Returns:
        Same shape and type; NaN also where a value is infinite or beyond what is clamped. `values` itself where nothing
        had to be changed.
    """
    is_possible = np.isfinite(values) & (values >= limits.minimum) & (values <= limits.maximum)
    if (is_possible | np.isnan(values)).all():
        return values
    is_taken = np.isfinite(values) & (values >= limits.lowest_clamped) & (values <= limits.highest_clamped)
    possible: FloatArray = np.where(is_taken, np.clip(values, limits.minimum, limits.maximum), np.nan)
    return possible.astype(values.dtype)


def clip_band(
    low: FloatArray, high: FloatArray, minimum: FloatArray, maximum: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Keep a band to the values that can be: no negative CPU.

    Args:
        low: Lower edge, shape (n, metrics), each metric in its own unit; NaN where there is no band.
        high: Upper edge, same shape and units.
        minimum: Smallest possible value, broadcastable to the same shape; -inf where there is none.
        maximum: Largest possible value, likewise; inf where there is none.

    Returns:
        Both edges, same shape and units; a band that lies wholly outside becomes the nearest bound.
    """
    clipped_low: FloatArray = np.clip(low, minimum, maximum)
    clipped_high: FloatArray = np.clip(high, minimum, maximum)
    return clipped_low, clipped_high


def is_evidence(values: FloatArray, expected: FloatArray, outside: BoolArray, limits: MetricLimits) -> BoolArray:
    """Whether a metric that is outside its band is so on a side that matters, and by enough to matter.

    Enough is the metric's smallest absolute and its smallest relative deviation, both; or that nearly nothing is left
    of what lies between the smallest possible and the expected value, so that a fall to zero of a metric that is
    always small is seen.

    Args:
        values: Measured, shape (n, metrics), each metric in its own unit; NaN where missing.
        expected: What time of day or the other metrics imply, same shape and units; NaN where unknown.
        outside: Whether the value is outside the band around it, same shape. Taken as given, and not found from the
            band's edges, so that a metric without limits counts exactly where it is outside.
        limits: Of the same metrics in the same order.

    Returns:
        Shape (n, metrics); False where the value or the expected value is NaN.
    """
    row, metric = np.nonzero(outside)  # few are
    value, lowest = values[row, metric], limits.minimum[metric]
    usual = np.clip(expected[row, metric], lowest, limits.maximum[metric])  # as people are shown it
    above = limits.counts_above[metric] & (value > usual)
    below = limits.counts_below[metric] & (value < usual)
    deviation = np.abs(value - usual)
    is_enough = (deviation >= limits.minimum_deviation[metric]) & (
        deviation >= limits.minimum_relative_deviation[metric] * np.abs(usual)
    )
    bottom = np.where(np.isfinite(lowest), lowest, np.nan)
    is_gone = below & (value - bottom <= NOTHING_LEFT * (usual - bottom))
    counted = np.zeros_like(outside)
    counted[row, metric] = ((above | below) & is_enough) | is_gone
    return counted


def is_saturated(values: FloatArray, limits: MetricLimits) -> BoolArray:
    """Whether a metric is at or above the value from which its resource is used up.

    Args:
        values: Measured, shape (n, metrics), each metric in its own unit; NaN where missing.
        limits: Of the same metrics in the same order.

    Returns:
        Shape (n, metrics); False where the value is missing or nothing is declared.
    """
    saturated: BoolArray = values >= limits.saturated_above
    return saturated
