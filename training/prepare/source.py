"""What a preparation reads: a fleet's history, a window or a server at a time."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from training.history.grid import Grid
from treeline.core.expectation.local_time import Zones


class HistorySource(Protocol):
    """A grid in memory (`Grid`) or files of any length (`FileWindows`)."""

    @property
    def servers(self) -> tuple[str, ...]:
        """Names, in order of the columns."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names, in order of the last axis."""

    @property
    def step_s(self) -> float:
        """The sampling step, which detection will run at."""

    @property
    def zones(self) -> Zones:
        """Which time zone each server is in."""

    @property
    def start_ms(self) -> int:
        """The first observation's time."""

    @property
    def end_ms(self) -> int:
        """The last observation's time."""

    @property
    def most_times(self) -> int:
        """No more different times than this."""

    def of_server(self, row: int) -> Grid:
        """All of one server."""

    def windows(self) -> Iterator[Grid]:
        """All servers, a part of the time after the other."""

    def shares(self, workers: int) -> "Sequence[HistorySource]":
        """Neighbouring servers' parts for so many processes, or all of it where it is read in one go."""
