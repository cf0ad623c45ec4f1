"""A server's local time: what the clocks of its time zone show, summer time included.

A habit keeps to local time: a job at 02:00 runs at another UTC hour in summer. Zones are IANA's (`Europe/Berlin`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from treeline.core.errors import UsageError
from treeline.core.times import DEFAULT_ZONE as DEFAULT_ZONE
from treeline.core.times import is_zone

QUARTER_HOUR_MS = 900_000  # clocks are changed at one, UTC, in every zone there is (Lord Howe's at a half hour)
_KEPT = 4096  # offsets remembered


@dataclass(frozen=True, slots=True)
class Zones:
    """Which server is in which time zone."""

    default: str = DEFAULT_ZONE  # the stage's
    own: Mapping[str, str] = field(default_factory=dict)  # by server, where it has one of its own

    def __post_init__(self) -> None:
        """Check the names; raises UsageError for one that is no zone."""
        for name in {self.default, *self.own.values()}:
            if not is_zone(name):
                raise UsageError(f"{name!r} is no IANA time zone such as Europe/Berlin")

    def of(self, servers: Sequence[str]) -> npt.NDArray[np.object_]:
        """The zone of each of some servers."""
        return np.array([self.own.get(server, self.default) for server in servers], dtype=object)


def offsets_s(zones: npt.NDArray[np.object_], at_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """How far local time is ahead of UTC, in seconds.

    Args:
        zones: Names of zones, shape (n,).
        at_ms: A time for each, milliseconds, shape (n,).
    """
    names, quarters = zones.tolist(), at_ms // QUARTER_HOUR_MS
    if (quarters == quarters[:1]).all():  # as in a round: one look-up a zone instead of one a server
        by_zone = {zone: _offset_s(zone, int(quarters[0])) for zone in set(names)}
        return np.fromiter(map(by_zone.__getitem__, names), dtype=np.int32, count=len(names))
    return np.fromiter(map(_offset_s, names, quarters.tolist()), dtype=np.int32, count=len(names))


@lru_cache(maxsize=_KEPT)
def _offset_s(zone: str, quarter: int) -> int:
    if zone == DEFAULT_ZONE:
        return 0
    offset = datetime.fromtimestamp(quarter * (QUARTER_HOUR_MS // 1000), UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
