"""What the users of services were promised and what they got: files beside a history, such as the generated fleet's.

In a folder: `objectives.csv` (`service, latency_p95_ms_below, error_ratio_below`: what was promised), `services.csv`
(`service, server_id`: who carries it), `service_levels.parquet` (`timestamp, service, latency_p95_ms, error_ratio`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.history.labels import MINUTE_MS
from treeline.core.errors import UsageError

OBJECTIVES_FILE, SERVICES_FILE, LEVELS_FILE = "objectives.csv", "services.csv", "service_levels.parquet"
_OBJECTIVE = ("service", "latency_p95_ms_below", "error_ratio_below")
_CARRIER = ("service", "server_id")
_LEVEL = ("timestamp", "service", "latency_p95_ms", "error_ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What was promised: both hold, at every step."""

    latency_p95_ms_below: float
    error_ratio_below: float

    def is_missed(self, latency_p95_ms: NDArray[np.float32], error_ratio: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Where it is missed, elementwise; a step without a value misses nothing."""
        return (latency_p95_ms >= np.float32(self.latency_p95_ms_below)) | (
            error_ratio >= np.float32(self.error_ratio_below)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveBreach:
    """A time in which a service missed its objective, both ends inclusive."""

    service: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceObjectives:
    """The objectives of a fleet's services; made by `open_objectives`."""

    objectives: Mapping[str, Objective]  # by service
    servers: Mapping[str, tuple[str, ...]]  # by service: those that carry it
    levels_path: Path

    def breaches(self, *, join_ms: int = 10 * MINUTE_MS) -> list[ObjectiveBreach]:
        """Every breach, by service and time; two of one service within `join_ms` (a step at least) are one.

        Raises:
            UsageError: The file of levels is not there, or lacks a column.
        """
        try:
            levels = pd.read_parquet(self.levels_path, columns=list(_LEVEL))
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.levels_path} cannot be read; expected columns {', '.join(_LEVEL)}") from error
        found = []
        for service, rows in levels.groupby("service", observed=True, sort=True):
            objective = self.objectives.get(str(service))
            if objective is None:
                raise UsageError(f"{self.levels_path} has service {service!r}, which has no objective beside it")
            times = rows["timestamp"].dt.as_unit("ms").astype("int64").to_numpy()
            missed = objective.is_missed(rows["latency_p95_ms"].to_numpy(), rows["error_ratio"].to_numpy())
            step_ms = int(np.diff(np.unique(times)).min()) if len(times) > 1 else 0
            found += _joined(str(service), np.sort(times[missed]), max(join_ms, step_ms))
        return found


def open_objectives(folder: Path) -> ServiceObjectives:
    """Read what was promised and who carries it; the levels stay on disk until asked for.

    Raises:
        UsageError: A file is not there, lacks a column, or a threshold is no number.
    """
    promised = _table(folder / OBJECTIVES_FILE, _OBJECTIVE)
    carriers = _table(folder / SERVICES_FILE, _CARRIER)
    objectives = {}
    for line, (service, latency, errors) in enumerate(promised.to_numpy(dtype=str).tolist(), start=2):
        try:
            objectives[service] = Objective(latency_p95_ms_below=float(latency), error_ratio_below=float(errors))
        except ValueError as error:
            raise UsageError(f"{folder / OBJECTIVES_FILE} line {line}: {error}; expected numbers") from error
    servers: dict[str, list[str]] = {}
    for service, server_id in zip(carriers["service"], carriers["server_id"], strict=True):
        servers.setdefault(service, []).append(server_id)
    return ServiceObjectives(
        objectives=objectives,
        servers={service: tuple(ids) for service, ids in servers.items()},
        levels_path=folder / LEVELS_FILE,
    )


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)[list(columns)]
    except (OSError, KeyError, pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read; expected a CSV file: {','.join(columns)}") from error


def _joined(service: str, times: NDArray[np.int64], join_ms: int) -> list[ObjectiveBreach]:
    if not len(times):
        return []
    gaps = np.flatnonzero(np.diff(times) > join_ms)
    starts, ends = times[np.r_[0, gaps + 1]], times[np.r_[gaps, len(times) - 1]]
    return [ObjectiveBreach(service=service, start_ms=int(a), end_ms=int(b)) for a, b in zip(starts, ends, strict=True)]
