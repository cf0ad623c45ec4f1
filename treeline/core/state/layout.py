"""Which arrays a detector state has. Blank rows and the stored form follow from one declaration an array.

Every array has one row a server. Floats are float32, or float16 where three digits are enough (floors, tails, seasonal
peaks). They are rounded at every step and not only when saved, so how often a state is saved changes no result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import numpy as np

from treeline.core.arrays import NEVER as NEVER
from treeline.core.arrays import Array, ArraySpec, Axis, Home
from treeline.core.channels import novelty, registry
from treeline.core.channels.channel import Channel, MetricChannel
from treeline.core.expectation import expectation, peers, relation, rolling
from treeline.core.expectation.rolling_limits import PARTS

RECENT = 10  # observations that are averaged
LATE_SLOTS = 32  # observation times remembered to tell a late observation from a repeated one


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of a detector state, in the order in which they are stored, and the names along their channel axis."""

    channels: tuple[str, ...]
    arrays: tuple[ArraySpec, ...]
    rolling_window_s: float = 0.0  # of `treeline.core.expectation.rolling`, whose arrays are there where it is not 0

    @property
    def rolling_parts(self) -> int:
        """In how many parts that window is kept; 0 without one."""
        finished = (spec.axes[0] for spec in self.arrays if spec.name == "rolling_count")
        return next((1 + length for length in finished if isinstance(length, int)), 0)

    def shape(self, spec: ArraySpec, rows: int, metrics: int) -> tuple[int, ...]:
        """The shape of an array for so many servers."""
        channels = len(self.channels)
        lengths = {Axis.METRICS: metrics, Axis.CHANNELS: channels, Axis.EVERY_CHANNEL: 1 + channels}
        return (rows, *(lengths[axis] if isinstance(axis, Axis) else axis for axis in spec.axes))

    def names_along(self, spec: ArraySpec) -> tuple[str, ...]:
        """What stands along an array's axis of channels, by name; nothing where it has no such axis."""
        if Axis.EVERY_CHANNEL in spec.axes:
            return (registry.SCORE.name, *self.channels)
        return self.channels if Axis.CHANNELS in spec.axes else ()

    def blank(self, spec: ArraySpec, rows: int, metrics: int) -> Array:
        """An array of initial values."""
        initial = np.nan if spec.initial is None else spec.initial
        return np.full(self.shape(spec, rows, metrics), initial, dtype=np.dtype(spec.dtype).newbyteorder("<"))

    def at_home(self, home: Home) -> tuple[ArraySpec, ...]:
        """The arrays that are stored there."""
        return tuple(spec for spec in self.arrays if spec.home is home)

    def only(self, *homes: Home) -> "Layout":
        """The part of it that is stored in some homes."""
        return replace(self, arrays=tuple(spec for spec in self.arrays if spec.home in homes))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        arrays = {spec.name: [spec.dtype, spec.initial, *spec.axes] for spec in self.arrays}
        rolling_window = {"rolling_window_s": self.rolling_window_s} if self.rolling_window_s else {}
        return {"channels": list(self.channels), "arrays": arrays, **rolling_window}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; raises KeyError, TypeError or ValueError for anything else."""
        specs = [
            ArraySpec(name, dtype, tuple(axis if isinstance(axis, int) else Axis(axis) for axis in axes), initial)
            for name, (dtype, initial, *axes) in body["arrays"].items()
        ]
        return cls(tuple(body["channels"]), tuple(specs), float(body.get("rolling_window_s", 0.0)))


_M, _C = Axis.METRICS, Axis.CHANNELS
_OF_THE_DETECTOR = (
    ArraySpec("phase", "u1"),
    ArraySpec("observations", "i8"),
    ArraySpec("last_at", "i8", (), NEVER),
    ArraySpec("last_received_at", "i8", (), NEVER),
    ArraySpec("seen_at", "i8", (LATE_SLOTS,), NEVER),
    ArraySpec("base_mean", "f4", (_M,)),
    ArraySpec("base_spread", "f4", (_M,), 1.0),
    ArraySpec("utc_offset_s", "i4"),  # of the server's local time
    ArraySpec("recent", "f4", (RECENT, _M)),
    ArraySpec("channel_mean", "f4", (_C,)),
    ArraySpec("channel_var", "f4", (_C,), 1.0),
    ArraySpec("channel_floor", "f4", (_C,), 0.2),
    ArraySpec("channel_gated", "u1", (_C,)),
)
_OF_THE_POLICY = (
    ArraySpec("severity", "f4"),
    ArraySpec("severity_bucket", "i8", (), NEVER),
    ArraySpec("above_p2", "u4"),
    ArraySpec("above_p1", "u4"),
    ArraySpec("incident", "u1"),
    ArraySpec("opened_at", "i8", (), NEVER),
    ArraySpec("first_above_at", "i8", (), NEVER),
    ArraySpec("last_p2_at", "i8", (), NEVER),
    ArraySpec("last_p1_at", "i8", (), NEVER),
    ArraySpec("quiet", "i4"),
    ArraySpec("resolved_at", "i8", (), NEVER),
    ArraySpec("sequence", "i4"),
)
_OF_RETIRED = (
    ArraySpec("retired_at", "i8", (), NEVER),  # what was received up to then is of a retired server of this name
    ArraySpec("is_unmet", "u1"),  # 1: what the model has learned under this name is of the retired one
)


def todays_layout(rolling_window_s: float = 0.0, rolling_parts: int = PARTS) -> Layout:
    """The layout that this code works with: its own arrays, and those that the channels declare.

    Args:
        rolling_window_s: Of a model with a rolling window, its length; else 0, and the state has none of its arrays.
        rolling_parts: In how many parts that model keeps it.
    """
    return _layout_of(registry.every_channel(), rolling_window_s, rolling_parts if rolling_window_s else 0)


@cache
def _layout_of(channels: tuple[Channel, ...], rolling_window_s: float, rolling_parts: int) -> Layout:
    declared = tuple(spec for channel in channels for spec in channel.arrays)
    names = tuple(channel.name for channel in channels if isinstance(channel, MetricChannel))
    arrays = (
        *_OF_THE_DETECTOR,
        *expectation.ARRAYS,
        *(rolling.arrays(rolling_parts) if rolling_parts else ()),
        *peers.ARRAYS,
        *relation.ARRAYS,
        *declared,
        *novelty.ARRAYS,
        *_OF_THE_POLICY,
        *_OF_RETIRED,
    )
    return Layout(names, arrays, rolling_window_s)
