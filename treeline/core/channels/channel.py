"""What a channel is: one way to look at a server, which says how unusual the server is now.

A channel is a module of this folder and an entry of `registry`. Everything that knows channels (the state's layout,
features, training, calibration, explain, docs/channels.md) goes by the registry, so that a new one needs no change
anywhere else.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import ArraySpec, Rows
from treeline.core.arrays import State as State
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray

DAY_S = 86_400.0


# Standard deviation of the mean of ten, and of the change from one to the next, of a stationary, moderately
# autocorrelated standardized series.
TYPICAL_MEAN10_SD = TYPICAL_CHANGE_SD = 0.7


@dataclass(frozen=True, slots=True)
class Views:
    """The metrics of some servers' observations from every side that a channel may look at."""

    value: FloatArray  # shape (n, metrics), in the spreads of training, at most ten; a missing one is the last one seen
    raw: FloatArray  # shape (n, metrics), the same with room for what is far out; NaN where missing
    difference: FloatArray  # shape (n, metrics), to the observation before, in the spreads of training; 0 after a gap
    mean10: FloatArray  # shape (n, metrics), the mean of the last ten values
    # Shape (n, metrics), how far the last ten observations together are from what the other metrics imply.
    sustained: FloatArray
    missing: npt.NDArray[np.bool_]  # shape (n, metrics) bool
    # Shape (n, metrics), at its declared saturation, where it is neither expected nor usual at this hour.
    saturated: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rarity:
    """How rare a measure must be for a tier, as -log10 of pages a server-week in the fleet's unlabelled past."""

    p2: float
    p1: float


class Channel(ABC):
    """What every channel declares."""

    name: ClassVar[str]  # in packages, config keys and tables; it is stored, so it stays
    title: ClassVar[str]  # for headings
    meaning: ClassVar[str]  # what it says of a server when it fires, as a sentence goes on: "the metrics ..."
    view: ClassVar[str]  # what it looks at
    aggregate: ClassVar[str]  # how the metrics become one number
    can_be_gated: ClassVar[bool] = False  # whether training may switch it off where it fires at the same times of day
    floors: ClassVar[Thresholds]  # the lowest thresholds of any fleet, however quiet its past (decision 20)
    # What it remembers of a server, beside the mean and variance of its number that every channel over the metrics has.
    arrays: ClassVar[tuple[ArraySpec, ...]] = ()
    # Arrays that training measures: a server that the model has not met gets the fleet's medians of them, and a new
    # model brings its own.
    trained: ClassVar[tuple[str, ...]] = ()
    rarity: ClassVar[Rarity] = Rarity(p2=0.0, p1=0.5)  # of a tier, above its floor
    # How often in a server-week the fleet's own past may exceed a threshold, counted and not extrapolated; None: the
    # rarity alone tells. Of this channel alone: channels rise together, so all of them open fewer than the sum.
    p2_pages: ClassVar[float | None] = 1.2
    p1_pages: ClassVar[float] = 0.5
    # Whether it goes by what training learned of the metrics together, so that it has no floor and may say P1 at once;
    # its own earlier peaks hold it back (`novelty`).
    is_model_evidence: ClassVar[bool] = False
    is_standardized: ClassVar[bool] = False  # whether its number is in standard deviations already

    @abstractmethod
    def past(self) -> str:
        """What its number is held against, in words; the measure is the distance in standard deviations of that."""


class MetricChannel(Channel):
    """A channel over the metrics' own deviations: it needs no forest."""

    aggregate = "mean of the three largest metrics"
    # Of the average that its number is held against; infinite: it stays as training left it.
    half_life_s: ClassVar[float] = math.inf
    # Whether its number means the same under every model, so that a new one keeps its averages.
    is_free_of_model: ClassVar[bool] = False

    def past(self) -> str:
        """See `Channel.past`."""
        is_static = math.isinf(self.half_life_s)
        return "its mean in training" if is_static else f"its average of half-life {self.half_life_s / DAY_S:g} d"

    @abstractmethod
    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """One number for each server at the rows, shape (n,): how far its metrics are from where they usually are."""

    def learn(self, state: State, at: Rows, views: Views, aged_s: FloatArray) -> None:
        """Learn the observations, after all channels were asked for their magnitude.

        Args:
            state: Changed in place.
            at: The servers' rows.
            views: Their observations.
            aged_s: Seconds by which each server's averages age.
        """

    def counted(
        self, state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], measure: FloatArray
    ) -> FloatArray:
        """The part of a measure that counts as evidence; here all of it. The state is not changed."""
        return measure

    def remember(
        self, state: State, rows: npt.NDArray[np.intp], observed_at: npt.NDArray[np.int64], measure: FloatArray
    ) -> None:
        """Note the measures, for later calls of `counted`. Changes the state."""

    def seeds(self, values: FloatArray) -> Mapping[str, Any]:
        """Its arrays' values for a server, from the whole history (times, metrics), in the spreads of training."""
        return {}

    def settled(self) -> Mapping[str, float]:
        """Its arrays' values for a metric whose baseline has just been learned, until the next training."""
        return {}
