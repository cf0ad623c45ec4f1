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

    def to_json(self) -> dict[str, int]:
        """Plain JSON values."""
        return {str(key): count for key, count in sorted(self.bins.items())}

    @classmethod
    def from_json(cls, body: Mapping[str, int]) -> "Sketch":
        """Read what `to_json` wrote."""
        return cls({int(key): int(count) for key, count in body.items()})
