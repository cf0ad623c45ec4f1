"""What a model must not learn from: intervals of a history that are left out by rule, each with its reason.

Left out are labelled incidents, incidents that are still open, maintenance windows, and rows that lack a metric their
server usually reports (it would be imputed). `training.prepare.suspicion` adds what nobody labelled.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from training.history.grid import Grid
from training.history.labels import FLEET, Label, merge_labels

MARGIN_MS = 30 * 60_000  # on either side of an incident: onsets are labelled late, recoveries early
USUAL_SHARE = 0.5  # a metric in this share of a server's rows is one that it usually reports


class Reason(StrEnum):
    """Why an interval is left out."""

    LABELLED = "labelled_incident"
    OPEN = "open_incident"
    MAINTENANCE = "maintenance_window"
    IMPUTED = "imputed_gap"
    SUSPECTED = "suspected_fault"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Exclusion:
    """An interval of one server (or of the fleet) that is not learned from; both ends inclusive."""

    server_id: str
    start_ms: int
    end_ms: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbances:
    """What people and tables say about a history. Times in milliseconds; server_id "fleet" means every server."""

    labels: Sequence[Label] = ()  # incidents that a person confirmed
    open_incidents: Sequence[tuple[str, int]] = ()  # server and time of opening of those that are not resolved yet
    maintenance: Sequence[tuple[str, int, int]] = ()  # server, start and last millisecond

    def exclusions(self, servers: Sequence[str], span: tuple[int, int]) -> list[Exclusion]:
        """What of them is left out of a history of these servers; `span` is its first and last millisecond."""
        first, last = span
        found = [
            Exclusion(
                server_id=label.server_id,
                start_ms=label.start_ms - MARGIN_MS,
                end_ms=label.end_ms + MARGIN_MS,
                reason=Reason.LABELLED,
                detail=label.kind,
            )
            for label in merge_labels(self.labels, gap_ms=2 * MARGIN_MS)
        ]
        found += [
            Exclusion(server_id=server, start_ms=opened - MARGIN_MS, end_ms=last, reason=Reason.OPEN)
            for server, opened in self.open_incidents
        ]
        found += [
            Exclusion(server_id=server, start_ms=start, end_ms=end, reason=Reason.MAINTENANCE)
            for server, start, end in self.maintenance
        ]
        known = {*servers, FLEET}
        return sorted(
            replace(x, start_ms=max(x.start_ms, first), end_ms=min(x.end_ms, last))
            for x in found
            if x.server_id in known and x.start_ms <= last and x.end_ms >= first
        )


def apply(grid: Grid, found: Iterable[Exclusion]) -> Grid:
    """The grid with excluded intervals emptied: to training they are times at which the server was absent."""
    values: npt.NDArray[np.float32] | None = None
    columns = {server: column for column, server in enumerate(grid.servers)}
    for exclusion in found:
        start = np.searchsorted(grid.times_ms, exclusion.start_ms)
        end = np.searchsorted(grid.times_ms, exclusion.end_ms, side="right")
        column = slice(None) if exclusion.server_id == FLEET else columns.get(exclusion.server_id)
        if start < end and column is not None:
            values = grid.values.copy() if values is None else values
            values[start:end, column] = np.nan
    return grid if values is None else replace(grid, values=values)


def usual(values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which metrics a server usually reports, of all its observations (n, metrics)."""
    known = ~np.isnan(values)
    return np.asarray(known.sum(axis=0) >= USUAL_SHARE * max(int(np.count_nonzero(known.any(axis=1))), 1))


def imputed(grid: Grid, usually: Mapping[str, npt.NDArray[np.bool_]]) -> list[Exclusion]:
    """Runs of rows that lack a metric their server usually reports; `usually` by server, as `usual` gives it."""
    found = []
    for column, server in enumerate(grid.servers):
        missing = np.isnan(grid.values[:, column])
        absent = missing.all(axis=1, keepdims=True)
        lacking: npt.NDArray[np.bool_] = np.logical_and(missing & usually[server], ~absent)
        for start, end in runs(np.logical_or.reduce(lacking, axis=1)):
            names = [m for m, gone in zip(grid.metrics, np.logical_or.reduce(lacking[start:end]), strict=True) if gone]
            found.append(
                Exclusion(
                    server_id=server,
                    start_ms=int(grid.times_ms[start]),
                    end_ms=int(grid.times_ms[end - 1]),
                    reason=Reason.IMPUTED,
                    detail=",".join(names),
                )
            )
    return found


def runs(flags: npt.NDArray[np.bool_], *, bridge: int = 0) -> list[tuple[int, int]]:
    """Start and end (exclusive) of runs of True; runs no more than `bridge` apart are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    found: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if found and start - found[-1][1] <= bridge:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def to_manifest(found: Iterable[Exclusion]) -> dict[str, Any]:
    """For the model's manifest: by reason and server, `[start ms, length ms, detail]` an interval."""
    listed: dict[str, dict[str, list[list[Any]]]] = {}
    for x in found:
        interval = [x.start_ms, x.end_ms - x.start_ms, *([x.detail] if x.detail else [])]
        listed.setdefault(x.reason.value, {}).setdefault(x.server_id, []).append(interval)
    return listed


def from_manifest(listed: Mapping[str, Mapping[str, Sequence[Sequence[Any]]]]) -> list[Exclusion]:
    """Read what `to_manifest` wrote."""
    return sorted(
        Exclusion(
            server_id=server,
            start_ms=start,
            end_ms=start + length,
            reason=Reason(reason),
            detail=detail[0] if detail else "",
        )
        for reason, by_server in listed.items()
        for server, intervals in by_server.items()
        for start, length, *detail in intervals
    )
