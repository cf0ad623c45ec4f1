"""What would have paged: how far a metric would have had to go, found by deciding the observations again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.app.explain.server_replay import ServerReplay
from treeline.core.detection.evidence import Bands
from treeline.core.profile import DEFAULT_METRICS, Metric
from treeline.core.statistics import FloatArray
from treeline.core.times import iso

FARTHEST_SD = 40.0  # beyond the farthest measured value: what would not have paged by then is not named
GRID, BISECTIONS = 41, 14
MAX_METRICS = 6  # tried one at a time, the farthest from their expectation first
DECLARED = {metric.name: metric for metric in DEFAULT_METRICS}  # no alert carries units where nothing paged


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanting:
    """One metric that would have paged, had it been at least (or at most) this at the named observations."""

    name: str
    unit: str
    value: float
    is_at_least: bool
    at: tuple[tuple[int, float], ...]  # the observations: time (ms) and what was measured

    def __str__(self) -> str:
        """As people read it."""
        at = " and ".join(f"{iso(time)[:19]}Z (it was {measured:.6g})" for time, measured in self.at)
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} {'>=' if self.is_at_least else '<='} {self.value:.6g}{unit} at {at}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "text": str(self),
            "name": self.name,
            ("at_least" if self.is_at_least else "at_most"): self.value,
            "observations": [{"observed_at": iso(time), "measured": measured} for time, measured in self.at],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfReach:
    """A metric that would not have paged, however high it had been: it has a largest value that can be."""

    name: str
    unit: str
    maximum: float

    def __str__(self) -> str:
        """As people read it."""
        return f"no {self.name} up to {self.maximum:g}{f' {self.unit}' if self.unit else ''} would have paged"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"text": str(self), "name": self.name, "maximum": self.maximum}


def wanting(
    replay: ServerReplay, times: Sequence[int], measured: npt.NDArray[np.float32], bands: Bands, *, names: Sequence[str]
) -> tuple[list[Wanting], list[OutOfReach]]:
    """For each metric that alone would have opened an incident, how far it would have had to be.

    The search goes outward on the side on which the last observation lies, then on the other, to the last value that
    the metric can have, such as 100 % of a processor, or FARTHEST_SD where it has none. A metric that opens nothing up
    to its largest value is out of reach. Both are empty where what was measured would have opened an incident.

    Args:
        replay: The server just before the first of the observations, without an open incident.
        times: Of as many observations as persistence needs, ms.
        measured: Theirs, shape (times, metrics).
        bands: What the last of them was held against, shape (metrics,).
        names: Of the metrics.
    """
    last = measured[-1].astype(np.float64)
    expected, spread = bands.usual(last)
    usable = np.flatnonzero(np.isfinite(last) & np.isfinite(expected) & (spread > 0))
    away = np.abs(last - expected) / np.maximum(spread, 1e-12)
    found, out_of_reach = list[Wanting](), list[OutOfReach]()
    if replay.outcomes(times, measured[None]).opens[0]:
        return found, out_of_reach
    for metric in usable[np.argsort(-away[usable], kind="stable")][:MAX_METRICS].tolist():
        name = names[metric]
        declared = DECLARED.get(name, Metric(name=name))
        low, high, unit = declared.minimum, declared.maximum, declared.unit
        near_side = bool(last[metric] >= expected[metric])
        for upwards in (near_side, not near_side):
            value = _tipping(
                replay, times, measured, metric, upwards, float(spread[metric]), limit=high if upwards else low
            )
            if value is not None:
                at = tuple(zip(times, measured[:, metric].astype(float).tolist(), strict=True))
                found.append(Wanting(name=name, unit=unit, value=value, is_at_least=upwards, at=at))
                break
            if upwards and math.isfinite(high):
                out_of_reach.append(OutOfReach(name=name, unit=unit, maximum=high))
    return found, out_of_reach


def _tipping(
    replay: ServerReplay,
    times: Sequence[int],
    measured: npt.NDArray[np.float32],
    metric: int,
    upwards: bool,
    spread: float,
    *,
    limit: float,
) -> float | None:
    """The least value that opens where all observations reach it, rounded outward; None where none does up to a limit.

    An infinite limit means FARTHEST_SD.
    """
    column = measured[:, metric].astype(np.float64)
    nearest, farthest = (np.nanmin(column), np.nanmax(column)) if upwards else (np.nanmax(column), np.nanmin(column))
    outward = math.ceil if upwards else math.floor
    farther = farthest + math.copysign(FARTHEST_SD * spread, 1.0 if upwards else -1.0)
    edge = limit if math.isfinite(limit) else farther

    def opens(bounds: FloatArray) -> npt.NDArray[np.bool_]:
        versions = np.repeat(measured[None], len(bounds), axis=0)
        versions[:, :, metric] = (np.maximum if upwards else np.minimum)(column, bounds[:, None])
        return replay.outcomes(times, versions).opens

    bounds = np.linspace(nearest, edge, GRID)
    opening = np.flatnonzero(opens(bounds))
    if not len(opening) or opening[0] == 0:
        return None
    quiet, tipping = bounds[opening[0] - 1], bounds[opening[0]]
    for _ in range(BISECTIONS):
        middle = (quiet + tipping) / 2
        quiet, tipping = (quiet, middle) if opens(np.array([middle]))[0] else (middle, tipping)
    unit = 10.0 ** (math.floor(math.log10(max(abs(tipping - nearest), 1e-12))) - 2)
    rounded = outward(tipping / unit) * unit
    is_possible = rounded <= edge if upwards else rounded >= edge
    return float(f"{rounded:.10g}") if is_possible and opens(np.array([rounded]))[0] else float(tipping)
