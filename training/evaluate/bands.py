"""What people were shown as expected, held against what came: do bands hold, and does every page show its reason?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.evaluate.pages import Opening
from training.history.grid import Grid
from training.history.labels import FLEET, Label, Protocol
from treeline.core.detection.evidence import Bands, shown_band
from treeline.core.profile import Metric

Mask = npt.NDArray[np.bool_]
DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BandQuality:
    """Counts over one fleet, or over several."""

    normal: int  # values that had a band, of each metric by itself, away from every labelled incident
    outside: int  # of these, outside the band that is shown around the expected value
    openings: int
    unexplained: int  # openings at which no metric was outside its expected or its implied band
    impossible: int  # bands with an edge that the metric cannot have

    @property
    def outside_share(self) -> float | None:
        """Of the normal values; None where there is none."""
        return self.outside / self.normal if self.normal else None

    @property
    def faults(self) -> tuple[str, ...]:
        """What must not be, whatever was recorded before; a line each."""
        found = []
        if self.unexplained:
            found.append(f"{self.unexplained} of {self.openings} openings show no metric outside its band")
        if self.impossible:
            found.append(f"{self.impossible} bands have an edge that the metric cannot have")
        return tuple(found)

    def __add__(self, other: Self) -> Self:
        """Of both together."""
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        share = self.outside_share
        counts = {name: getattr(self, name) for name in self.__slots__}
        return {**counts, "outside_share": None if share is None else round(share, DIGITS)}


def judge_bands(
    grid: Grid, bands: Bands, openings: Sequence[Opening], labels: Iterable[Label], protocol: Protocol
) -> BandQuality:
    """Hold the bands that were shown against the values, and each opening against what its page lists.

    Args:
        grid: What was detected in.
        bands: Of its observations, shape (times, servers, metrics).
        openings: When incidents opened or rose; one of the whole fleet has no metrics and is left out.
        labels: Labelled incidents; as far beside them as the protocol accepts a page, nothing counts as normal.
        protocol: Of the set.
    """
    declared = {metric.name: metric for metric in grid.declarations}
    of_server: dict[str, list[Label]] = {}
    for label in labels:
        of_server.setdefault(label.server_id, []).append(label)
    opened: dict[str, list[int]] = {}
    for opening in openings:
        if opening.server_id != FLEET:
            opened.setdefault(opening.server_id, []).append(opening.at_ms)
    total = BandQuality(normal=0, outside=0, openings=0, unexplained=0, impossible=0)
    for column, server in enumerate(grid.servers):
        is_normal = _away_from(grid.times_ms, of_server.get(server, ()), protocol.margin_ms)
        at = np.searchsorted(grid.times_ms, opened.get(server, ()))
        total += _of_server(grid, column, bands.at(np.s_[:, column]), declared, is_normal, at)
    return total


def _of_server(
    grid: Grid, column: int, bands: Bands, declared: Mapping[str, Metric], is_normal: Mask, opened: npt.NDArray[np.intp]
) -> BandQuality:
    values, limits = grid.values[:, column], grid.limits
    outside, impossible = [], 0
    for middle, spread in ((bands.expected, bands.spread), (bands.implied, bands.implied_spread)):
        has_band = (spread > 0) & ~np.isnan(middle)
        _, low, high = shown_band(middle, spread, grid.metrics, declared)
        outside.append(has_band & ((values < low) | (values > high)))
        is_possible = np.isfinite(low) & np.isfinite(high) & (low >= limits.minimum) & (high <= limits.maximum)
        impossible += int(np.count_nonzero(has_band & ~is_possible))
    by_time, by_relation = outside
    normal = is_normal[:, None] & (bands.spread > 0) & ~np.isnan(values)
    explained = (by_time | by_relation)[opened].any(axis=1)
    return BandQuality(
        normal=int(np.count_nonzero(normal)),
        outside=int(np.count_nonzero(normal & by_time)),
        openings=len(opened),
        unexplained=int(np.count_nonzero(~explained)),
        impossible=impossible,
    )


def _away_from(times_ms: npt.NDArray[np.int64], labels: Iterable[Label], margin_ms: int) -> Mask:
    away = np.ones(len(times_ms), dtype=bool)
    for label in labels:
        away &= (times_ms < label.start_ms - margin_ms) | (times_ms > label.end_ms + margin_ms)
    return away
