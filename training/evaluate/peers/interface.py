"""What a peer is: learns one server's unlabelled past, then says how strange each later observation is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Values = NDArray[np.float64]


class Peer(Protocol):
    """One detector of one server; a fresh one is made for each.

    Values have shape (n, metrics), standardized by the server's training mean and spread, without gaps: a missing
    value repeats the last one.
    """

    def fit(self, times_ms: Times, values: Values) -> None:
        """Learn the training part, in time order."""
        ...

    def score(self, times_ms: Times, values: Values) -> Values:
        """How strange each observation is, shape (n,), finite, larger is stranger; by that moment's past only.

        Called once, with the training part (its scores calibrate) and the test part after it.
        """
        ...


@dataclass(frozen=True, slots=True)
class NamedPeer:
    """A peer by name.

    Attributes:
        name: As it stands in tables.
        make: A fresh detector; gets the sampling step (s) and a seed.
        needs: Package it takes, which the extra `bench` installs; empty where numpy is enough.
    """

    name: str
    make: Callable[[float, int], Peer]
    needs: str = ""
