"""Counterfactuals: the smallest changes of metrics with which an incident would not have opened, checked by scoring."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.app.explain.server_replay import ServerReplay
from treeline.core.statistics import FloatArray

GRID = 33  # values tried between what was measured and what was expected
BISECTIONS = 16
CHECKED = 9  # values scored again between the bound that is named and what was expected
MAX_METRICS = 6  # tried one at a time, the farthest from their expectation first
ROUNDING = 0.02  # of the way from expected to measured: how far a round number may be from the exact bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One metric's part: it would have had to be at most (or at least) this."""

    name: str
    unit: str
    measured: float
    expected: float
    value: float
    is_at_most: bool

    def __str__(self) -> str:
        """As people read it."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} had been {'<=' if self.is_at_most else '>='} {self.value:.6g}{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """The incident would not have opened, had every bound held from its first anomalous to its deciding observation."""

    bounds: tuple[Bound, ...]  # one metric's, or several metrics' together
    severity: float  # of the deciding observation, at the bounds
    is_verified: bool  # every value tried from the bounds to the expectation opens nothing, and what was measured does

    def __str__(self) -> str:
        """As people read it."""
        return "would not have paged if " + " and ".join(map(str, self.bounds))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "text": str(self),
            "bounds": [
                {
                    "name": b.name,
                    "measured": b.measured,
                    "expected": b.expected,
                    ("at_most" if b.is_at_most else "at_least"): b.value,
                }
                for b in self.bounds
            ],
            "severity": self.severity,
            "verified": self.is_verified,
        }


def counterfactuals(
    replay: ServerReplay,
    times: Sequence[int],
    measured: npt.NDArray[np.float32],
    expected: FloatArray,
    spread: FloatArray,
    *,
    names: Sequence[str],
    units: Sequence[str],
) -> list[Counterfactual]:
    """For each metric that alone could have prevented the opening, the bound within which it would have.

    Where no metric could have alone, the fewest that could have together, taken in order of their deviation and moved
    together from their measured to their expected values.

    Args:
        replay: The server just before its first anomalous observation.
        times: From that observation to the deciding one, ms.
        measured: Theirs, shape (times, metrics).
        expected, spread: Of the deciding observation, shape (metrics,).
        names, units: Of the metrics.

    Returns:
        Empty where not even the expected values of all metrics would have prevented it.
    """
    deciding = measured[-1].astype(np.float64)
    upwards = deciding > expected
    # A bound holds for every observation, so the search begins at the farthest of them.
    largest = np.where(np.isnan(measured), -np.inf, measured).max(axis=0)
    smallest = np.where(np.isnan(measured), np.inf, measured).min(axis=0)
    farthest = np.where(upwards, largest, smallest).astype(np.float64)
    search = _Search(
        replay, list(times), measured.astype(np.float64), farthest, expected, upwards, list(names), list(units)
    )
    known = np.flatnonzero(np.isfinite(deciding) & np.isfinite(expected))
    deviation = np.abs(deciding - expected) / np.maximum(spread, 1e-12)
    order = [int(i) for i in known[np.argsort(-deviation[known], kind="stable")]]
    alone = [found for metric in order[:MAX_METRICS] if (found := search.bound((metric,))) is not None]
    if alone:
        return alone
    for count in _counts(len(order)):
        together = search.bound(tuple(order[:count]))
        if together is not None:
            return [together]
    return []


def _counts(metrics: int) -> Iterator[int]:
    """2, 3, 4, 6, 8, 12, ... and all: each costs a search."""
    count = 2
    while count < metrics:
        yield count
        count = max(count + 1, count * 3 // 2)
    if metrics >= 2:
        yield metrics


@dataclass(frozen=True, slots=True)
class _Search:
    replay: ServerReplay
    times: list[int]
    measured: FloatArray  # (times, metrics)
    farthest: FloatArray
    expected: FloatArray
    upwards: npt.NDArray[np.bool_]
    names: list[str]
    units: list[str]

    def bound(self, metrics: tuple[int, ...]) -> Counterfactual | None:
        """The least change of these metrics that prevents the opening, in round numbers."""
        shares = np.linspace(0.0, 1.0, GRID)
        opens, _ = self._try(metrics, shares)
        if opens[-1] or not opens[0]:
            return None
        last = int(np.flatnonzero(opens).max())
        low, high = shares[last], shares[last + 1]
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if self._try(metrics, np.array([middle]))[0][0]:
                low = middle
            else:
                high = middle
        values = [self._rounded(metric, high) for metric in metrics]
        bounds = tuple(
            Bound(
                name=self.names[m],
                unit=self.units[m],
                measured=float(self.measured[-1, m]),
                expected=float(self.expected[m]),
                value=value,
                is_at_most=bool(self.upwards[m]),
            )
            for m, value in zip(metrics, values, strict=True)
        )
        versions = [
            self._bounded(metrics, [v + way * (self.expected[m] - v) for m, v in zip(metrics, values, strict=True)])
            for way in np.linspace(0.0, 1.0, CHECKED)
        ]
        opens, severity = self.replay.would_open(self.times, np.array([*versions, self.measured], dtype=np.float32))
        return Counterfactual(
            bounds=bounds, severity=float(severity[0]), is_verified=bool(not opens[:CHECKED].any() and opens[CHECKED])
        )

    def _try(self, metrics: tuple[int, ...], shares: FloatArray) -> tuple[npt.NDArray[np.bool_], FloatArray]:
        start, end = self.farthest[list(metrics)], self.expected[list(metrics)]
        versions = [self._bounded(metrics, (start + share * (end - start)).tolist()) for share in shares]
        return self.replay.would_open(self.times, np.array(versions, dtype=np.float32))

    def _bounded(self, metrics: tuple[int, ...], bounds: Sequence[float]) -> FloatArray:
        """The observations with each of these metrics cut at its bound; what is missing stays missing."""
        rows = self.measured.copy()
        for metric, bound in zip(metrics, bounds, strict=True):
            cut = np.minimum if self.upwards[metric] else np.maximum
            rows[:, metric] = cut(rows[:, metric], bound)
        return rows

    def _rounded(self, metric: int, share: float) -> float:
        """A short number on the safe side of the bound, which costs little of the way."""
        farthest, expected = float(self.farthest[metric]), float(self.expected[metric])
        exact = farthest + share * (expected - farthest)
        slack = ROUNDING * abs(farthest - expected)
        towards = math.floor if self.upwards[metric] else math.ceil
        if slack == 0.0:
            return exact
        for digits in range(-math.ceil(math.log10(slack)) - 2, 12):
            value = towards(exact * 10.0**digits) / 10.0**digits
            if abs(value - exact) <= slack and (value - expected) * (exact - expected) >= 0:
                return float(value)
        return exact
