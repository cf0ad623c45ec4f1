"""Counterfactuals: the smallest changes of metrics with which an incident would not have opened, checked by scoring."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.app.explain.server_replay import ServerReplay
from treeline.core.statistics import FloatArray
from treeline.core.times import iso

GRID = 33  # values tried between what was measured and what was expected
BISECTIONS = 16
CHECKED = 9  # values scored again between the bound that is named and what was expected
MAX_METRICS = 6  # tried one at a time, the farthest from their expectation first
SHOWN = 3  # observations that are named, of each bound
ROUNDING = 0.02  # of the way from expected to measured: how far a round number may be from the exact bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One metric's part: it would have had to be at most (or at least) this, where it was not."""

    name: str
    unit: str
    expected: float  # at the deciding observation
    value: float
    is_at_most: bool
    broken: tuple[tuple[int, float], ...]  # each observation that breaks it, one or more: time (ms), measured

    def __str__(self) -> str:
        """As people read it."""
        unit = f" {self.unit}" if self.unit else ""
        where = " and ".join(f"{iso(at)[:19]}Z (measured {measured:.6g})" for at, measured in self.broken[:SHOWN])
        if len(self.broken) > SHOWN:
            where += f" and {len(self.broken) - SHOWN} more observations"
        return f"{self.name} had been {'<=' if self.is_at_most else '>='} {self.value:.6g}{unit} at {where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """The incident would not have opened, had every bound held from its first anomalous to its deciding observation."""

    server_id: str
    deciding_at: int  # of the deciding observation, ms
    bounds: tuple[Bound, ...]  # one metric's, or several metrics' together
    severity: float  # of the deciding observation, at the bounds
    is_verified: bool  # every value tried from the bounds to the expectation opens nothing, and what was measured does

    @property
    def changes_deciding(self) -> bool:
        """Whether the deciding observation breaks a bound; otherwise only earlier ones do."""
        return any(at == self.deciding_at for bound in self.bounds for at, _ in bound.broken)

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.server_id} would not have paged if " + " and ".join(map(str, self.bounds))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "text": str(self),
            "server_id": self.server_id,
            "deciding_observation": iso(self.deciding_at),
            "changes_deciding": self.changes_deciding,
            "bounds": [
                {
                    "name": b.name,
                    "expected": b.expected,
                    ("at_most" if b.is_at_most else "at_least"): b.value,
                    "broken_by": [{"observed_at": iso(at), "measured": measured} for at, measured in b.broken],
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
    # A bound holds for every observation, so the search begins at the farthest of them; the deciding one may be normal.
    away = measured - expected
    rows = np.where(np.isnan(away), -1.0, np.abs(away)).argmax(axis=0)
    farthest = measured[rows, np.arange(measured.shape[1])].astype(np.float64)
    upwards = farthest > expected
    search = _Search(
        replay, list(times), measured.astype(np.float64), farthest, expected, upwards, list(names), list(units)
    )
    known = np.flatnonzero(np.isfinite(farthest) & np.isfinite(expected))
    deviation = np.abs(farthest - expected) / np.maximum(spread, 1e-12)
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
                expected=float(self.expected[m]),
                value=value,
                is_at_most=bool(self.upwards[m]),
                broken=self._broken(m, value),
            )
            for m, value in zip(metrics, values, strict=True)
        )
        versions = [
            self._bounded(metrics, [v + way * (self.expected[m] - v) for m, v in zip(metrics, values, strict=True)])
            for way in np.linspace(0.0, 1.0, CHECKED)
        ]
        opens, severity = self.replay.would_open(self.times, np.array([*versions, self.measured], dtype=np.float32))
        return Counterfactual(
            server_id=self.replay.server_id,
            deciding_at=self.times[-1],
            bounds=bounds,
            severity=float(severity[0]),
            is_verified=bool(not opens[:CHECKED].any() and opens[CHECKED]),
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

    def _broken(self, metric: int, value: float) -> tuple[tuple[int, float], ...]:
        """The observations that are beyond a bound."""
        column = self.measured[:, metric]
        beyond = column > value if self.upwards[metric] else column < value
        return tuple((self.times[i], float(column[i])) for i in np.flatnonzero(beyond))

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
