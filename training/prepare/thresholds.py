"""A fleet's own thresholds: how high does each channel rise in the fleet's unlabelled past?

A channel's threshold is the measure that it exceeded as often a server-week as the channel declares, and never less
than its floor (`Channel.floors`). Fleets differ: what is one page a week here is ten there, and fixed numbers chosen
on one fleet do badly on the next (decision 20). An exceedance counts as it would page: two of three observations, and
what continues within the next hour is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from treeline.core.channels import registry
from treeline.core.channels.channel import Channel
from treeline.core.detection.calibration import Calibration
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray

FEWEST_PAGES = 3  # fewer say little about where the tail ends: it is carried on from more frequent ones
TAIL_PAGES = np.array([3.0, 5.0, 8.0, 12.0, 20.0])
SMALLEST_SHARE_OF_A_PAGE = 0.01
MOST_OVER_FLOOR = 5.0  # a past full of trouble must not switch a channel off
BULK_PAGES = np.geomspace(20.0, 2.5, 7)  # a server-week: what the bulk of a past exceeds
TIERS_APART = 1.02  # P1's k over P2's, at least
NEVER = Thresholds(p2=1e6, p1=2e6)  # of a channel of which nothing is known
HOUR_MS = 3_600_000
WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class RarityLine:
    """How rare a measure is: `-log10(pages a server-week) = at_zero + slope * measure`."""

    at_zero: float
    slope: float

    def measure(self, rarity: float) -> float:
        """The measure that is so rare."""
        return (rarity - self.at_zero) / self.slope


@dataclass(frozen=True, slots=True)
class Peaks:
    """What is left of a history's measures: each hour's highest, and how much of it the hour before had too."""

    hours: FloatArray  # the highest measures of each server's hours, shape (hours, channels), in no order
    joined: FloatArray  # of the same hours, what the hour before reached as well: up to it no new page begins
    server_weeks: FloatArray  # how long the servers were observed by each channel, shape (channels,)

    @classmethod
    def of(cls, times_ms: npt.NDArray[np.int64], measures: FloatArray, *, step_s: float) -> Self:
        """Of measures (times, servers, channels).

        NaN where a server was absent, or where that channel's past does not count; -inf where a channel is off.
        """
        hours, joined, observations = [], [], np.zeros(measures.shape[2])
        for server in range(measures.shape[1]):
            known = ~np.isnan(measures[:, server]).all(axis=1)
            if not known.any():
                continue
            counted = measures[known, server].astype(np.float32)
            observations += (~np.isnan(counted)).sum(axis=0)
            own = _of_two_in_three(np.where(np.isnan(counted), -np.inf, counted))
            hour = times_ms[known] // HOUR_MS
            starts = np.flatnonzero(np.diff(hour, prepend=hour[0] - 1))
            highest = np.maximum.reduceat(own, starts, axis=0)
            before = np.full_like(highest, -np.inf)
            follows = np.flatnonzero(np.diff(hour[starts]) == 1)
            before[follows + 1] = highest[follows]
            hours.append(highest)
            joined.append(np.minimum(highest, before))
        none = np.empty((0, measures.shape[2]), dtype=np.float32)
        return cls(np.concatenate([none, *hours]), np.concatenate([none, *joined]), observations * step_s / WEEK_S)

    @classmethod
    def together(cls, parts: "Sequence[Peaks]") -> Self:
        """Of several servers' histories."""
        hours, joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("hours", "joined"))
        return cls(hours, joined, np.sum([part.server_weeks for part in parts], axis=0))

    def line(self, channel: int) -> "RarityLine | None":
        """How rare each measure is, fitted on the bulk; None where the past is too short or too quiet to tell.

        A line through the measures that were exceeded 20 to 2.5 times a server-week, carried on beyond: the past's few
        largest are its incidents, and must not raise what the next one is held against.
        """
        weeks = float(self.server_weeks[channel])
        known = [self._kept_to(channel, pages * weeks) for pages in BULK_PAGES]
        if weeks <= 0 or known[-1] - known[0] <= 1e-6 * abs(known[-1]):
            return None
        slope, at_zero = np.polyfit(known, -np.log10(BULK_PAGES), 1)
        return RarityLine(float(at_zero), float(slope)) if slope > 0 else None

    def threshold(self, channel: int, pages: float) -> float:
        """The measure from which on a channel pages no more than so many times in this history."""
        if pages >= FEWEST_PAGES:
            return self._kept_to(channel, pages)
        known = [self._kept_to(channel, each) for each in TAIL_PAGES]
        slope, at_one = np.polyfit(np.log(TAIL_PAGES), known, 1)
        return float(at_one + slope * np.log(max(pages, SMALLEST_SHARE_OF_A_PAGE)))

    def _kept_to(self, channel: int, pages: float) -> float:
        """The lowest measure from which on there were never more pages than that."""
        hours, joined = np.sort(self.hours[:, channel]), np.sort(self.joined[:, channel])
        candidates = np.unique(hours[np.isfinite(hours)])
        if not len(candidates):
            return 0.0  # nothing was seen, or the channel is off everywhere: the floor holds
        begun = (len(hours) - np.searchsorted(hours, candidates)) - (len(joined) - np.searchsorted(joined, candidates))
        too_many = np.flatnonzero(begun > pages)
        return float(candidates[min(too_many[-1] + 1, len(candidates) - 1)]) if len(too_many) else float(candidates[0])


def _of_two_in_three(measures: FloatArray) -> FloatArray:
    """What each observation and one of the two before it both reached, shape (n, channels)."""
    padded = np.concatenate([np.full((2, measures.shape[1]), -np.inf), measures])
    return np.asarray(np.minimum(measures, np.maximum(padded[1:-1], padded[:-2])))


def fitted(peaks: Peaks, floors: Calibration) -> Calibration:
    """The calibration of the fleet that left these peaks; `floors` is what it does not lie below."""
    thresholds = {}
    for position, channel in enumerate(registry.every_channel()):
        floor, line = floors[channel.name], peaks.line(position)
        if line is None:
            thresholds[channel.name] = NEVER if channel.is_model_evidence else floor
            continue
        p2, p1 = (max(line.measure(rarity), lowest) for rarity, lowest in _tiers(channel, floor))
        if channel.p2_pages is not None:
            weeks = float(peaks.server_weeks[position])
            p2 = max(p2, min(peaks.threshold(position, channel.p2_pages * weeks), MOST_OVER_FLOOR * floor.p2))
            p1 = max(p1, min(peaks.threshold(position, channel.p1_pages * weeks), MOST_OVER_FLOOR * floor.p1))
        thresholds[channel.name] = Thresholds(
            p2=p2, p1=max(p1, TIERS_APART * p2), decade=1.0 / line.slope, rarity_at_zero=line.at_zero
        )
    return replace(floors, thresholds=thresholds)


def _tiers(channel: Channel, floor: Thresholds) -> tuple[tuple[float, float], ...]:
    """Each tier's rarity and floor."""
    return (channel.rarity.p2, floor.p2), (channel.rarity.p1, floor.p1)
