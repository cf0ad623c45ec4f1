"""A quantile sketch that merges: counts in logarithmic bins, so that any quantile is within 2 % of the true one.

The binning is DDSketch's (Masson, Rim and Lee 2019) without its collapsing: scores span few decades.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from treeline.core.statistics import FloatArray

RELATIVE_ERROR = 0.02
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SMALLEST = 1e-6  # below it a value counts as zero
_ZERO = -10_000  # the bin of zeros


@dataclass(slots=True)
class Sketch:
    """Counts by bin; bin i holds the values in (gamma^(i-1), gamma^i]."""

    bins: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: FloatArray) -> "Sketch":
        """The sketch of some values, all >= 0; raises ValueError for a negative one or NaN."""
        data = np.asarray(values, dtype=np.float64)
        if not np.all(data >= 0.0):
            raise ValueError("a sketch takes values >= 0")
        bins = np.full(data.shape, _ZERO, dtype=np.int64)
        positive = data > _SMALLEST
        bins[positive] = np.ceil(np.log(data[positive]) / math.log(_GAMMA)).astype(np.int64)
        keys, counts = np.unique(bins, return_counts=True)
        return cls(dict(zip(keys.tolist(), counts.tolist(), strict=True)))

    @property
    def count(self) -> int:
        """How many values it stands for."""
        return sum(self.bins.values())

    def merge(self, other: "Sketch") -> "Sketch":
        """The sketch of both samples together."""
        merged = dict(self.bins)
        for key, count in other.bins.items():
            merged[key] = merged.get(key, 0) + count
        return Sketch(merged)

    def quantile(self, share: float) -> float:
        """The value below which `share` of the sample lies; NaN of an empty sketch.

        Raises:
            ValueError: `share` is outside [0, 1].
        """
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share must be in [0, 1], got {share}")
        if not self.bins:
            return math.nan
        rank, seen = share * (self.count - 1), 0
        for key in sorted(self.bins):
            seen += self.bins[key]
            if seen > rank:
                return 0.0 if key == _ZERO else 2.0 * _GAMMA**key / (_GAMMA + 1.0)
        return math.nan

    def to_json(self) -> dict[str, int]:
        """Plain JSON values."""
        return {str(key): count for key, count in sorted(self.bins.items())}

    @classmethod
    def from_json(cls, body: Mapping[str, int]) -> "Sketch":
        """Read what `to_json` wrote."""
        return cls({int(key): int(count) for key, count in body.items()})
