"""Counterfactuals: the smallest changes of metrics with which nobody would have been paged, checked by scoring."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.app.explain.server_replay import Outcomes, ServerReplay
from treeline.core.detection.evidence import Bands
from treeline.core.severity import P2_SEVERITY
from treeline.core.statistics import FloatArray
from treeline.core.times import iso

GRID = 33  # values tried between what was measured and what was expected
READ_AS_BELOW = 0.005  # under P2, so that a severity of two digits does not read as P2 reached
REFINEMENTS = 2  # each narrows the bound to 1/32 of what it was
CHECKED = 9  # values scored again between the bound that is named and what was expected
MAX_METRICS = 6  # tried one at a time, the farthest from their expectation first
SHOWN = 3  # observations that are named, of each bound
ROUNDING = 0.02  # of the way from expected to measured: how far a round number may be from the exact bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One metric's part: it would have had to be at most (or at least) this, where it was not."""

    name: str
    unit: str
    expected: float  # what would have been usual at the deciding observation
    value: float
    is_at_most: bool
    broken: tuple[tuple[int, float], ...]  # each observation that breaks it, one or more: time (ms), measured

    def __str__(self) -> str:
        """As people read it."""
        unit = f" {self.unit}" if self.unit else ""
        if len(self.broken) <= SHOWN:
            where = "at " + " and ".join(f"{_clock(at)} (measured {measured:.6g})" for at, measured in self.broken)
        else:
            times, values = zip(*self.broken, strict=True)
            most = f"up to {max(values):.6g}" if self.is_at_most else f"down to {min(values):.6g}"
            where = f"from {_clock(times[0])} to {_clock(times[-1])} (measured {most}, {len(values)} observations)"
        return f"{self.name} had been {'<=' if self.is_at_most else '>='} {self.value:.6g}{unit} {where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The page that would have come all the same, later."""

    by_ms: int  # after the one that came
    is_p1: bool  # whether it is a P1, or becomes one in the time that was tried

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.by_ms / 60_000:.3g} min later ({'P1' if self.is_p1 else 'P2'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """No incident would have opened, or a later one, had every bound held from the first anomalous observation on."""

    server_id: str
    deciding_at: int  # of the deciding observation, ms
    until: int  # the last observation that was decided again, ms: until then the bounds hold
    bounds: tuple[Bound, ...]  # one metric's, or several metrics' together
    severity: float  # of the deciding observation, at the bounds
    is_verified: bool  # decided again in the same way, what was measured opens the incident where it was opened
    delay: Delay | None = None  # None: it prevents the page

    @property
    def changes_deciding(self) -> bool:
        """Whether the deciding observation breaks a bound; otherwise only earlier ones do."""
        return any(at == self.deciding_at for bound in self.bounds for at, _ in bound.broken)

    def __str__(self) -> str:
        """As people read it."""
        would = "would not have paged if" if self.delay is None else f"would have paged {self.delay} even if"
        return f"{self.server_id} {would} " + " and ".join(map(str, self.bounds))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "text": str(self),
            "server_id": self.server_id,
            "deciding_observation": iso(self.deciding_at),
            "held_until": iso(self.until),
            "prevents": self.delay is None,
            "delay_seconds": None if self.delay is None else self.delay.by_ms / 1000,
            "delayed_priority": None if self.delay is None else "P1" if self.delay.is_p1 else "P2",
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
    deciding: int,
    bands: Bands,
    *,
    names: Sequence[str],
    units: Sequence[str],
) -> list[Counterfactual]:
    """For each metric that alone could have prevented the page, the bound within which it would have.

    A bound holds for all the observations: one that only keeps the deciding one down is followed by the page that the
    next ones bring. Where no metric alone could have prevented it: what the page would have been delayed by, had one
    metric been as expected, and then the fewest metrics that could have together, taken in order of their deviation and
    moved together from their measured to their expected values.

    Args:
        replay: The server just before its first anomalous observation.
        times: From that observation to the last one of the incident that is stored, ms.
        measured: Theirs, shape (times, metrics).
        deciding: Which of the times opened the incident.
        bands: What the deciding observation was held against, shape (metrics,).
        names, units: Of the metrics.

    Returns:
        Those that prevent and those that delay; without one that prevents where not even the expected values of all
        metrics would have.
    """
    expected, spread = bands.usual(measured[deciding])
    # The side is that of the farthest observation up to the deciding one, which may be normal; the search begins at the
    # farthest of all on that side, where the bound cuts nothing.
    away = measured[: deciding + 1] - expected
    rows = np.where(np.isnan(away), -1.0, np.abs(away)).argmax(axis=0)
    upwards = away[rows, np.arange(measured.shape[1])] > 0
    whole = measured.astype(np.float64)
    highest: FloatArray = np.fmax.reduce(whole, axis=0)
    lowest: FloatArray = np.fmin.reduce(whole, axis=0)
    farthest = np.where(upwards, highest, lowest)
    search = _Search(replay, list(times), whole, deciding, farthest, expected, upwards, list(names), list(units))
    known = np.flatnonzero(np.isfinite(farthest) & np.isfinite(expected))
    deviation = np.abs(farthest - expected) / np.maximum(spread, 1e-12)
    order = [int(i) for i in known[np.argsort(-deviation[known], kind="stable")]]
    alone = [found for metric in order[:MAX_METRICS] if (found := search.bound((metric,))) is not None]
    if alone:
        return alone
    delays = [found for metric in order[:MAX_METRICS] if (found := search.delay(metric)) is not None]
    for count in _counts(len(order)):
        together = search.bound(tuple(order[:count]))
        if together is not None:
            return [together, *delays]
    return delays


def _clock(at: int) -> str:
    return f"{iso(at)[:19]}Z"


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
    deciding: int
    farthest: FloatArray
    expected: FloatArray
    upwards: npt.NDArray[np.bool_]
    names: list[str]
    units: list[str]

    def bound(self, metrics: tuple[int, ...]) -> Counterfactual | None:
        """The least change of these metrics that prevents the page, in round numbers; None where none does."""
        low, high = 0.0, 1.0
        if self._pages(metrics, np.array([high]))[0]:
            return None
        for _ in range(1 + REFINEMENTS):
            shares = np.linspace(low, high, GRID)
            pages = np.flatnonzero(self._pages(metrics, shares))
            if not len(pages):
                return None
            low, high = shares[pages[-1]], shares[pages[-1] + 1]
        values = [self._rounded(metric, high) for metric in metrics]
        tried = self._outcomes(
            metrics,
            [
                [v + way * (self.expected[m] - v) for m, v in zip(metrics, values, strict=True)]
                for way in np.linspace(0.0, 1.0, CHECKED)
            ],
        )
        return None if self._is_paged(tried)[:CHECKED].any() else self._found(metrics, values, tried)

    def delay(self, metric: int) -> Counterfactual | None:
        """By how much the page would have been late, had this metric been as expected; None where it would not."""
        value = self._rounded(metric, 1.0)
        tried = self._outcomes((metric,), [[value]])
        later = int(tried.opens_at[0])
        if later <= self.deciding:
            return None
        by_ms = self.times[later] - self.times[self.deciding]
        delay = Delay(by_ms=by_ms, is_p1=bool(tried.is_p1[0]))
        return self._found((metric,), [value], tried, delay=delay)

    def _found(
        self, metrics: tuple[int, ...], values: Sequence[float], tried: Outcomes, *, delay: Delay | None = None
    ) -> Counterfactual:
        """From what these bounds do, which were tried first; what was measured was tried last."""
        return Counterfactual(
            server_id=self.replay.server_id,
            deciding_at=self.times[self.deciding],
            until=self.times[-1],
            bounds=tuple(
                Bound(
                    name=self.names[m],
                    unit=self.units[m],
                    expected=float(self.expected[m]),
                    value=value,
                    is_at_most=bool(self.upwards[m]),
                    broken=self._broken(m, value),
                )
                for m, value in zip(metrics, values, strict=True)
            ),
            severity=float(tried.severity[0, self.deciding]),
            is_verified=int(tried.opens_at[-1]) == self.deciding,
            delay=delay,
        )

    def _pages(self, metrics: tuple[int, ...], shares: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether somebody is paged where the metrics are moved by a share of the way to what was expected."""
        start, end = self.farthest[list(metrics)], self.expected[list(metrics)]
        return self._is_paged(self._outcomes(metrics, [(start + share * (end - start)).tolist() for share in shares]))[
            :-1
        ]

    def _is_paged(self, tried: Outcomes) -> npt.NDArray[np.bool_]:
        """Where an incident opens; and where the deciding observation is left at P2, one short of opening."""
        left: npt.NDArray[np.bool_] = tried.severity[:, self.deciding] >= P2_SEVERITY - READ_AS_BELOW
        return tried.opens | left

    def _outcomes(self, metrics: tuple[int, ...], bounds: Sequence[Sequence[float]]) -> Outcomes:
        """What each of some bounds on the metrics does, and last what was measured does."""
        versions = [*(self._bounded(metrics, each) for each in bounds), self.measured]
        return self.replay.outcomes(self.times, np.array(versions, dtype=np.float32))

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
