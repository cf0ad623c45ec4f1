"""What the detect use case works with: what it reads and commits, and the services it needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from treeline.app.alert.muting import SuppressedIncident
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.core.alert import Alert
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Pending:
    """A group's observations as read: shape (n,) each, values (n, metrics) with NaN where missing."""

    servers: list[str]
    observed_at: npt.NDArray[np.int64]
    received_at: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


@dataclass(slots=True)
class Record:
    """What one commit stores of a group."""

    group: int
    model_version: str  # the model that decided
    state: FleetState  # the detector's state after the commit
    block: ScoreBlock | None = None  # the scores of this commit; None where it scored nothing
    outbox: list[Alert] = field(default_factory=list)  # alerts of this and earlier commits that are not published yet
    committed_ms: int = 0  # when, by the wall clock
    # By server, its incident of which something was not published.
    suppressed: dict[str, SuppressedIncident] = field(default_factory=dict)


class Observations(Protocol):
    """Reads a group's observations in event-time order."""

    def read(
        self,
        group: int,
        start_ms: int,
        metrics: Sequence[str],
        *,
        skip: Callable[[str, int, str], bool],
        limit: int,
        until_ms: int | None = None,
    ) -> Pending:
        """At most `limit` observations from `start_ms` on for which `skip(server, observed_at, received_at)` is false.

        Where `until_ms` is given, none from then on.

        `skip` is asked about every one read, in event-time order; `received_at` is ISO text.
        """


class Records(Protocol):
    """The detector-state table."""

    def load(self, group: int, model_version: str) -> Record | None:
        """The committed record, read consistently; None before the first commit."""

    def commit(self, record: Record, previous_version: int) -> None:
        """Write if the stored version is still `previous_version`; raises StateConflictError otherwise."""

    def clear_outbox(self, record: Record) -> None:
        """Take published alerts out of the outbox; raises StateConflictError where a later version is stored."""


class Scores(Protocol):
    """The scores table."""

    def put(self, group: int, block: ScoreBlock, now_ms: int) -> None:
        """Write the block; writing it again changes nothing."""

    def entries(self, group: int, first_ms: int, last_ms: int) -> set[tuple[str, int]]:
        """(server, observed_at) of what blocks of any model hold from `first_ms` to `last_ms`."""


class Incidents(Protocol):
    """The incidents table."""

    def apply(self, alert: Alert) -> bool:
        """Enter one alert in its incident's row. Returns whether to publish it: of several groups only one does."""


class Publisher(Protocol):
    """The alerts topic."""

    def publish(self, alert: Alert) -> None:
        """Tell people; raises PublishError."""


class Scorer(Protocol):
    """The model's forest: on an endpoint, or in this function."""

    def score(self, rows: FloatArray) -> FloatArray:
        """Scores (n,) of finite float32 rows (n, features), at most 50.

        Raises:
            ScorerUnavailableError: No answer now; worth another try later.
            ScorerContractError: The rows were refused, or the answer is no scores.
        """


class ActivePackage(Protocol):
    """Where the active model package comes from."""

    def active(self) -> ModelPackage | None:
        """The active package; None before the first model."""
