"""The evidence of one observation: each measured value beside what its server normally has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from treeline.core.alert import ExpectedBy, ImplyingMetric, MetricEvidence
from treeline.core.detection.features import Features
from treeline.core.expectation.expectation import Basis
from treeline.core.limits import clip_band
from treeline.core.profile import Metric
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray

BAND_SD = 3.0  # half the width of the bands that people are shown, in the spreads of `Features`
MOST_IMPLYING = 2  # metrics that are named beside what they imply
NO_METRIC = -1  # in place of a metric's position: there is none

_EXPECTED_BY = {
    Basis.DAY: ExpectedBy.TRAILING_DAY,
    Basis.SEASON: ExpectedBy.TIME_OF_DAY,
    Basis.MOVED_SEASON: ExpectedBy.TIME_OF_DAY,
    Basis.ROLLING: ExpectedBy.ROLLING_WINDOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """What observations are held against, each in the metric's unit; arrays of shape (..., metrics)."""

    expected: FloatArray  # by what `basis` says
    spread: FloatArray  # a third of the way from there to the band's edge; 0: the metric has no baseline yet
    basis: npt.NDArray[np.uint8]  # a `Basis`
    implied: FloatArray  # what the server's other metrics imply; NaN where no relation was learned
    implied_spread: FloatArray  # a third of the way from there to its band's edge
    implied_by: npt.NDArray[np.int16]  # (..., metrics, 2), the metrics that weigh most in it, NO_METRIC for none

    @classmethod
    def of(cls, state: FleetState, rows: npt.NDArray[np.intp], features: Features) -> Self:
        """What a round's observations were held against.

        Args:
            state: Of the servers, before or after it has learned the round.
            rows: The servers' rows in the state, shape (n,).
            features: Of their observations, in the same order.
        """
        weights, related = state.relation[rows], features.compared.related
        is_learned = np.diagonal(weights, axis1=1, axis2=2) != 0
        return cls(
            expected=features.expected,
            spread=features.spread,
            basis=features.compared.now.basis,
            implied=np.where(is_learned, features.implied, np.nan),
            implied_spread=features.implied_spread,
            implied_by=weightiest(weights, related.implied + related.unexplained),
        )

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> Self:
        """Arrays to be filled, of a shape that ends with the metrics: nothing is known yet."""
        nothing = np.full(shape, np.nan, dtype=np.float32)
        return cls(
            expected=nothing.copy(),
            spread=nothing.copy(),
            basis=np.zeros(shape, dtype=np.uint8),
            implied=nothing.copy(),
            implied_spread=nothing,
            implied_by=np.full((*shape, MOST_IMPLYING), NO_METRIC, dtype=np.int16),
        )

    def put(self, place: Any, some: "Bands") -> None:
        """Fill in those of some of the observations, by any index into the axes before the metrics."""
        for name in self.__slots__:
            getattr(self, name)[place] = getattr(some, name)

    def deviation(self, measured: FloatArray) -> FloatArray:
        """How far values are from their expected or implied value, whichever is farther; beyond `BAND_SD` is outside.

        Args:
            measured: Shape (..., metrics), each in its own unit; NaN where missing.

        Returns:
            Same shape, at least 0; NaN where the value or its band is missing.
        """
        away = np.full(np.shape(measured), np.nan)
        for middle, spread in ((self.expected, self.spread), (self.implied, self.implied_spread)):
            distance = np.abs(measured - middle)
            known = spread > 0
            away = np.fmax(away, np.divide(distance, spread, out=np.full_like(away, np.nan), where=known))
        return away

    def usual(self, measured: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The value of each metric that would have been usual, and its spread, float64 of shape (metrics,).

        The expected one; where a metric lies within its band and not within that of the implied value, the latter.

        Args:
            measured: The observation, shape (metrics,).
        """
        is_expected = ~(np.abs(measured - self.expected) > BAND_SD * self.spread)
        is_related = ~(np.abs(measured - self.implied) > BAND_SD * self.implied_spread)  # NaN: nothing is implied
        by_relation = is_expected & ~is_related
        value = np.where(by_relation, self.implied, self.expected).astype(np.float64)
        return value, np.where(by_relation, self.implied_spread, self.spread).astype(np.float64)

    def at(self, place: Any) -> "Bands":
        """Those of some of the observations, by any index into the axes before the metrics."""
        return Bands(**{name: getattr(self, name)[place] for name in self.__slots__})


def weightiest(weights: FloatArray, residual: FloatArray) -> npt.NDArray[np.int16]:
    """Which other metrics weigh most in what is implied for each: those of the largest |weight x residual|.

    Args:
        weights: Of the metrics for each other, shape (n, metrics, metrics), as `relation.weights` makes them.
        residual: How far each metric is from its expected value, shape (n, metrics).

    Returns:
        Shape (n, metrics, 2), positions of metrics, the heaviest first; NO_METRIC where no other weighs anything.
    """
    count = residual.shape[1]
    share = np.abs(weights * residual[:, None, :])
    share[:, np.arange(count), np.arange(count)] = 0.0
    found = np.full((*residual.shape, MOST_IMPLYING), NO_METRIC, dtype=np.int16)
    for place in range(MOST_IMPLYING):
        heaviest = share.argmax(axis=2)[..., None]
        weighs = np.take_along_axis(share, heaviest, axis=2) > 0
        found[..., place] = np.where(weighs, heaviest, NO_METRIC)[..., 0]
        np.put_along_axis(share, heaviest, 0.0, axis=2)
    return found


def shown_band(
    middle: FloatArray, spread: FloatArray, names: Sequence[str], declared: Mapping[str, Metric]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """An expected or implied value and its band as people are shown them: no value that the metric cannot have.

    Args:
        middle: Shape (..., metrics), each in its own unit.
        spread: A third of the way to the band's edge, same shape and units.
        names: Of the metrics.
        declared: By name; a metric without a declaration may have any value.

    Returns:
        Value, lower and upper edge, of the same shape.
    """
    metrics = [declared.get(name) or Metric(name=name) for name in names]
    minimum, maximum = (np.array([getattr(m, bound) for m in metrics]) for bound in ("minimum", "maximum"))
    low, high = clip_band(middle - BAND_SD * spread, middle + BAND_SD * spread, minimum, maximum)
    return np.clip(middle, minimum, maximum), low, high


def metric_evidence(
    names: Sequence[str], measured: FloatArray, bands: Bands, declared: Mapping[str, Metric]
) -> list[MetricEvidence]:
    """Every metric that has a baseline: those outside their usual band first, then those that do not fit the others.

    Args:
        names: Of the metrics, in the order of the arrays.
        measured: Shape (metrics,), each in its own unit; NaN where the value is missing.
        bands: What this observation was held against, arrays of shape (metrics, ...).
        declared: What each metric is measured in, and which values it can have, by its name.
    """
    values = np.asarray(measured, dtype=np.float64)
    expected, low, high = shown_band(np.asarray(bands.expected, np.float64), bands.spread, names, declared)
    implied, implied_low, implied_high = shown_band(
        np.asarray(bands.implied, np.float64), bands.implied_spread, names, declared
    )
    units = [declared[name].unit if name in declared else "" for name in names]
    found = []
    for i in np.flatnonzero(bands.spread > 0).tolist():
        value = None if np.isnan(values[i]) else float(values[i])
        is_implied = bool(bands.implied_spread[i] > 0 and np.isfinite(bands.implied[i]))
        named = [int(j) for j in bands.implied_by[i] if j != NO_METRIC and np.isfinite(values[j])]
        found.append(
            MetricEvidence(
                name=names[i],
                unit=units[i],
                measured=value,
                expected=float(expected[i]),
                low=float(low[i]),
                high=float(high[i]),
                deviation=_deviation(value, bands.expected[i], bands.spread[i]),
                expected_by=_EXPECTED_BY[Basis(int(bands.basis[i]))],
                implied=float(implied[i]) if is_implied else None,
                implied_low=float(implied_low[i]) if is_implied else None,
                implied_high=float(implied_high[i]) if is_implied else None,
                implied_deviation=_deviation(value, bands.implied[i], bands.implied_spread[i]) if is_implied else None,
                implied_by=tuple(ImplyingMetric(name=names[j], unit=units[j], measured=float(values[j])) for j in named)
                if is_implied
                else (),
            )
        )
    return sorted(found, key=_order)


def _deviation(measured: float | None, middle: float, spread: float) -> float:
    return 0.0 if measured is None else round(float((measured - middle) / spread), 3)


def _order(metric: MetricEvidence) -> tuple[bool, bool, float]:
    # What left its usual range stands first: beside it a metric that stayed where it was does not fit the others
    # either, and is not what is wrong.
    by_relation = metric.is_told_by_relation
    away = metric.implied_deviation or 0.0 if by_relation else metric.deviation
    return not metric.is_unexpected, not by_relation, -abs(away)
