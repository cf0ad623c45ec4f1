"""How an array of the detector's state is declared and addressed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

NEVER = -1  # in place of a time: there is none

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp] | slice


class Axis(StrEnum):
    """An axis whose length depends on the deployment or on the registry of channels."""

    METRICS = "metrics"
    CHANNELS = "channels"


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a detector state."""

    name: str  # in code, stored states and model packages
    dtype: str  # numpy's name; stored little-endian
    axes: tuple[int | Axis, ...] = ()  # lengths beyond the server axis
    initial: float | None = 0  # what a server begins with in every place; None is NaN


def together(rows: npt.NDArray[np.intp]) -> Rows:
    """Neighbouring rows in ascending order as a slice, which takes a view of an array and not a copy."""
    last = len(rows) - 1
    if last >= 0 and rows[last] - rows[0] == last and (rows[1:] > rows[:-1]).all():
        return slice(int(rows[0]), int(rows[last]) + 1)
    return rows
