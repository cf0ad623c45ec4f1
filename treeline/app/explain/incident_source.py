"""What an explanation is made from: read from deployed tables, or from the folder that a run has left."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from treeline.app.detect.origin import Origin
from treeline.app.detect.override import Override
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.core.alert import Alert
from treeline.core.model.package import ModelPackage
from treeline.core.statistics import FloatArray

_ARRAYS = ("observed_at", "status", "score", "severity", "features", "common")
LATEST_MS = 253_402_300_799_000  # the last time that ISO 8601 writes with four digits of a year
Score = Callable[[npt.NDArray[np.float32]], FloatArray]


@dataclass(frozen=True, slots=True)
class Observed:
    """A server's stored observations in order of time: shape (n,) and (n, metrics), NaN where missing."""

    observed_at: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    def at(self, moment: int) -> npt.NDArray[np.float32] | None:
        """The values of one time; None when that observation is not there any more."""
        found = np.flatnonzero(self.observed_at == moment)
        return self.values[found[0]] if len(found) else None


@dataclass(frozen=True, slots=True)
class ScoredPath:
    """What was scored of a server, in order of time, one entry an observation; and the origins kept with it."""

    observed_at: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]
    score: FloatArray
    severity: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    common: npt.NDArray[np.float16]  # what the server's peers had in common; no column in blocks of before
    origins: tuple[Origin, ...] = ()
    # Time of an observation (ms) -> id of the override it was decided by; only those that were.
    overrides: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, blocks: Iterable[ScoreBlock], server_id: str, start_ms: int, end_ms: int) -> "ScoredPath":
        """A server's part of score blocks, observations in [start, end]."""
        parts, kept, overrides = list[list[Any]](), list[Origin](), dict[int, str]()
        for block in blocks:
            if server_id in block.origins:
                kept.append(Origin.unpack(block.origins[server_id]))
            if server_id in block.servers:
                own = block.server == block.servers.index(server_id)
                own &= (block.observed_at >= start_ms) & (block.observed_at <= end_ms)
                parts.append([getattr(block, name)[own] for name in _ARRAYS])
                if block.override:
                    overrides |= dict.fromkeys(block.observed_at[own].tolist(), block.override)
        if not parts:
            nothing = ScoreBlock.empty([], "", np.empty(0, np.intp), np.empty(0, np.int64))
            parts = [[getattr(nothing, name) for name in _ARRAYS]]
        *most, features, common = (list(column) for column in zip(*parts, strict=True))
        columns = [*map(np.concatenate, most), *(np.concatenate(_of_one_width(wide)) for wide in (features, common))]
        order = np.argsort(columns[0], kind="stable")
        arrays: dict[str, Any] = {name: column[order] for name, column in zip(_ARRAYS, columns, strict=True)}
        return cls(**arrays, origins=tuple(kept), overrides=overrides)

    @property
    def commons(self) -> Mapping[int, npt.NDArray[np.float16]]:
        """What the server's peers had in common, by the time of the observation, ms; 0 where it was not stored."""
        common = np.nan_to_num(self.common)
        return dict(zip(self.observed_at.tolist(), common, strict=True)) if common.shape[1] else {}

    def decided(self) -> "ScoredPath":
        """Only the observations that were decided, not those that were late or of a server warming up."""
        return self._only(self.status == Status.SCORED)

    def advanced(self) -> "ScoredPath":
        """What moved the state on: warming up does, being late does not."""
        return self._only((self.status == Status.SCORED) | (self.status == Status.WARMING_UP))

    def _only(self, own: npt.NDArray[np.bool_]) -> "ScoredPath":
        return replace(self, **{name: getattr(self, name)[own] for name in _ARRAYS})


class IncidentSource(Protocol):
    """Reads what an explanation needs."""

    def incident(self, incident_id: str) -> list[Alert]:
        """An incident's changes in order; raises UsageError where there is no such incident."""

    def incidents_of(self, server_id: str, start_ms: int, end_ms: int) -> list[str]:
        """Ids of a server's incidents that opened in [start, end], in order of their opening."""

    def model_at(self, server_id: str, at_ms: int) -> str | None:
        """The model that scored a server around a time; None where nothing of it is stored."""

    def missing(self, server_id: str) -> str:
        """Why nothing may be stored of a server around some time, as people read it: no such server, or not then."""

    def scored(self, server_id: str, start_ms: int, end_ms: int, *, model_version: str) -> ScoredPath:
        """What a model scored of a server in [start, end]; empty where scores have expired."""

    def observations(self, server_id: str, start_ms: int, end_ms: int, metrics: tuple[str, ...]) -> Observed:
        """The stored observations of a server in [start, end]; what has expired is missing."""

    def package(self, model_version: str) -> ModelPackage:
        """A model's package; raises ModelMismatchError where it is gone."""

    def scorer(self, model_version: str) -> tuple[Score, str]:
        """A model's forest, and where it was found; raises ScorerUnavailableError where there is none."""

    def override(self, id_: str) -> Override:
        """An override by its id; raises ModelMismatchError where it is gone."""


def _of_one_width(rows: list[FloatArray]) -> list[FloatArray]:
    """Rows of the newest kind; what an earlier version of Treeline made otherwise is NaN."""
    width = rows[-1].shape[1]
    return [each if each.shape[1] == width else np.full((len(each), width), np.nan, each.dtype) for each in rows]


def overrides_of(source: IncidentSource, *paths: ScoredPath) -> dict[int, Override]:
    """The override that decided an observation, by its time (ms); only of those that one decided.

    Raises:
        ModelMismatchError: One of them is gone.
    """
    ids = {at: id_ for path in paths for at, id_ in path.overrides.items()}
    entries = {id_: source.override(id_) for id_ in sorted(set(ids.values()))}
    return {at: entries[id_] for at, id_ in ids.items()}
