"""How an array of the detector's state is declared and addressed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

NEVER = -1  # a time that never was

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp] | slice


class Axis(StrEnum):
    """An axis whose length is not the code's to fix."""

    METRICS = "metrics"
    CHANNELS = "channels"


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a detector state.

    Attributes:
        name: By which code, stored states and model packages know it.
        dtype: numpy's name; stored little-endian.
        axes: Lengths beyond the server axis.
        initial: What a server begins with in every place; None is NaN, which would not equal itself.
    """

    name: str
    dtype: str
    axes: tuple[int | Axis, ...] = ()
    initial: float | None = 0


def together(rows: npt.NDArray[np.intp]) -> Rows:
    """Neighbouring rows in order as a slice: what a slice takes from an array is a view, not a copy."""
    last = len(rows) - 1
    if last >= 0 and rows[last] - rows[0] == last and (rows[1:] > rows[:-1]).all():
        return slice(int(rows[0]), int(rows[last]) + 1)
    return rows
