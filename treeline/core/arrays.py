"""How an array of the detector's state is declared and addressed."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

NEVER = -1  # in place of a time: there is none

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp] | slice


class Axis(StrEnum):
    """An axis whose length depends on the deployment or on the registry of channels."""

    METRICS = "metrics"
    CHANNELS = "channels"  # those over the metrics
    EVERY_CHANNEL = "every_channel"  # and the score's before them


class Home(StrEnum):
    """Where an array of the detector's state is stored; the code that decides sees all of them side by side."""

    STATE = "state"  # in the group's record, which every commit writes
    TABLE = "table"  # in items of its own, which are written once a quarter hour
    PACKAGE = "package"  # in the model package: training measures it, and detection does not change it


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a detector state."""

    name: str  # in code, stored states and model packages
    dtype: str  # numpy's name; stored little-endian
    axes: tuple[int | Axis, ...] = ()  # lengths beyond the server axis
    initial: float | None = 0  # what a server begins with in every place; None is NaN
    home: Home = field(default=Home.STATE, compare=False)


class State(Protocol):
    """A detector's state as functions see it that know some of its arrays: by name, one row a server."""

    @property
    def rolling_window_s(self) -> float:
        """Length of the rolling window that all is expected by; 0 where each series has an expectation of its own."""

    def __getattr__(self, name: str) -> Array: ...


def together(rows: npt.NDArray[np.intp]) -> Rows:
    """Neighbouring rows in ascending order as a slice, which takes a view of an array and not a copy."""
    last = len(rows) - 1
    if last >= 0 and rows[last] - rows[0] == last and np.logical_and.reduce(rows[1:] > rows[:-1]):
        return slice(int(rows[0]), int(rows[last]) + 1)
    return rows
