"""What a model must not learn from: intervals left out by rule, each with its reason, listed in the manifest.

Rules: labelled incidents; incidents still open; maintenance windows; stretches in which a metric that a server
usually reports is missing (its rows would be imputed); and, for what nobody labelled, stretches of hours in which a
server is where it otherwise never is (`suspected_fault`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from training.history.grid import Grid
from training.history.labels import FLEET, Label, merge_labels

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


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
class Rules:
    """The rules' constants.

    Attributes:
        margin_ms: Left out on either side of an incident: onsets are labelled late, recoveries early.
        usual_share: A metric a server reports in this share of its rows is one it usually has.
        suspect_sd: How far an hour's mean must be from that hour of the day's usual one, in robust sds.
        suspect_hours: For how many hours.
        suspect_bridge_hours: Hours of a stretch no further apart than this belong together: what shows by day only.
        suspect_margin_hours: Left out on either side of a stretch.
        suspect_beyond: By how many robust sds the stretch must lie beyond everything outside it: what comes back
            (weekends, month ends) is a habit, however strange.
        suspect_least_days: A shorter history cannot tell a habit from a fault.
        shared_servers, shared_share: What at least so many servers, and this share of the fleet, do at once is load.
        suspect_days: A stretch longer than this, or than `suspect_share` of the history, is a new normal.
    """

    margin_ms: int = 30 * 60_000
    usual_share: float = 0.5
    suspect_sd: float = 6.0
    suspect_hours: int = 6
    suspect_bridge_hours: int = 18
    suspect_margin_hours: int = 3
    suspect_beyond: float = 3.0
    suspect_least_days: float = 13.0
    shared_servers: int = 3
    shared_share: float = 0.05
    suspect_days: float = 14.0
    suspect_share: float = 0.4


DEFAULT_RULES = Rules()


def exclusions(
    grid: Grid,
    *,
    labels: Iterable[Label] = (),
    open_incidents: Iterable[tuple[str, int]] = (),
    maintenance: Iterable[tuple[str, int, int]] = (),
    rules: Rules = DEFAULT_RULES,
) -> list[Exclusion]:
    """Everything that is to be left out of a training history.

    Args:
        grid: The history.
        labels: Incidents that somebody confirmed; those of servers outside the grid are ignored.
        open_incidents: (server_id or "fleet", opened at ms) of incidents not resolved yet.
        maintenance: (server_id or "fleet", start ms, end ms) windows.
        rules: The rules' constants.

    Returns:
        By server and time; intervals of different reasons may overlap.
    """
    span = int(grid.times_ms[0]), int(grid.times_ms[-1])
    known = told(grid.servers, span, labels=labels, open_incidents=open_incidents, maintenance=maintenance, rules=rules)
    rest = apply(grid, known)
    found = known + suspected(grid.servers, grid.metrics, *hourly(rest), span, rules=rules)
    return sorted(found + imputed(rest, usual(rest, rules)))


def told(
    servers: Sequence[str],
    span: tuple[int, int],
    *,
    labels: Iterable[Label] = (),
    open_incidents: Iterable[tuple[str, int]] = (),
    maintenance: Iterable[tuple[str, int, int]] = (),
    rules: Rules = DEFAULT_RULES,
) -> list[Exclusion]:
    """What people and the incidents table say; `span` is the history's first and last ms."""
    first, last = span
    found = [
        Exclusion(
            server_id=label.server_id,
            start_ms=label.start_ms - rules.margin_ms,
            end_ms=label.end_ms + rules.margin_ms,
            reason=Reason.LABELLED,
            detail=label.kind,
        )
        for label in merge_labels(list(labels), gap_ms=2 * rules.margin_ms)
    ]
    found += [
        Exclusion(server_id=server, start_ms=opened - rules.margin_ms, end_ms=last, reason=Reason.OPEN)
        for server, opened in open_incidents
    ]
    found += [
        Exclusion(server_id=server, start_ms=start, end_ms=end, reason=Reason.MAINTENANCE)
        for server, start, end in maintenance
    ]
    known = {*servers, FLEET}
    return sorted(
        replace(x, start_ms=max(x.start_ms, first), end_ms=min(x.end_ms, last))
        for x in found
        if x.server_id in known and x.start_ms <= last and x.end_ms >= first
    )


def apply(grid: Grid, found: Sequence[Exclusion]) -> Grid:
    """The grid with excluded intervals emptied: to training they are times at which the server was absent."""
    if not found:
        return grid
    values = grid.values.copy()
    columns = {server: column for column, server in enumerate(grid.servers)}
    for exclusion in found:
        start = np.searchsorted(grid.times_ms, exclusion.start_ms)
        end = np.searchsorted(grid.times_ms, exclusion.end_ms, side="right")
        if exclusion.server_id == FLEET:
            values[start:end] = np.nan
        elif exclusion.server_id in columns:
            values[start:end, columns[exclusion.server_id]] = np.nan
    return replace(grid, values=values)


def to_manifest(found: Sequence[Exclusion]) -> dict[str, Any]:
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


def usual(grid: Grid, rules: Rules = DEFAULT_RULES) -> npt.NDArray[np.bool_]:
    """Which metrics each server usually reports, shape (servers, metrics)."""
    here = np.count_nonzero(grid.present(), axis=0).reshape(-1, 1)
    return np.asarray((~np.isnan(grid.values)).sum(axis=0) >= rules.usual_share * np.maximum(here, 1))


def imputed(grid: Grid, usually: npt.NDArray[np.bool_]) -> list[Exclusion]:
    """Runs of rows that lack a metric their server usually reports; `usually` as `usual` gives it."""
    found = []
    for column, server in enumerate(grid.servers):
        missing = np.isnan(grid.values[:, column])
        absent = missing.all(axis=1, keepdims=True)
        lacking = missing & usually[column] & ~absent
        for start, end in _runs(lacking.any(axis=1)):
            names = [m for m, gone in zip(grid.metrics, lacking[start:end].any(axis=0), strict=True) if gone]
            found.append(_interval(grid, server, start, end, Reason.IMPUTED, ",".join(names)))
    return found


def suspected(
    servers: Sequence[str],
    metrics: Sequence[str],
    hours: npt.NDArray[np.int64],
    means: npt.NDArray[np.floating[Any]],
    span: tuple[int, int],
    *,
    rules: Rules = DEFAULT_RULES,
) -> list[Exclusion]:
    """Stretches of hours at which a server is where it otherwise never is.

    Args:
        servers: By column.
        metrics: By last axis.
        hours: Hours since the epoch, shape (n,), increasing.
        means: Each hour's means, shape (n, servers, metrics), NaN where absent.
        span: First and last ms of the history.
        rules: The rules' constants.
    """
    if not len(hours) or hours[-1] - hours[0] < rules.suspect_least_days * 24:
        return []  # with one weekend only, a weekend is something new
    hour_of_day = hours % 24
    suspect = np.zeros((len(hours), len(servers), len(metrics)), dtype=bool)
    for column in range(len(servers)):
        deviation = _deviation(hour_of_day, means[:, column].astype(np.float64))
        for m in range(len(metrics)):
            suspect[:, column, m] = _novel(hours, deviation[:, m], rules)
    together = suspect.any(axis=2).sum(axis=1)
    shared = together >= max(rules.shared_servers, rules.shared_share * len(servers))
    found = []
    for column, server in enumerate(servers):
        for start, end in _runs(np.logical_or.reduce(suspect[:, column], axis=1)):
            if shared[start:end].mean() > 0.5:
                continue
            names = [name for m, name in enumerate(metrics) if suspect[start:end, column, m].any()]
            # Quiet hours hide a fault's edges; one that may still be on at the history's end is not over.
            open_end = hours[-1] - hours[end - 1] <= rules.suspect_bridge_hours
            until = span[1] if open_end else (int(hours[end - 1]) + 1 + rules.suspect_margin_hours) * HOUR_MS - 1
            found.append(
                Exclusion(
                    server_id=server,
                    start_ms=max((int(hours[start]) - rules.suspect_margin_hours) * HOUR_MS, span[0]),
                    end_ms=min(until, span[1]),
                    reason=Reason.SUSPECTED,
                    detail=",".join(names),
                )
            )
    return found


def hourly(grid: Grid) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Hours since the epoch (n,) and each server's mean of every metric in them (n, servers, metrics)."""
    hour = grid.times_ms // HOUR_MS
    hours, starts = np.unique(hour, return_index=True)
    present = np.add.reduceat(~np.isnan(grid.values), starts, axis=0, dtype=np.int32)
    total = np.add.reduceat(np.nan_to_num(grid.values), starts, axis=0, dtype=np.float64)
    return hours, np.where(present > 0, total / np.maximum(present, 1), np.nan)


def _deviation(hour_of_day: npt.NDArray[np.int64], means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each hour is from the median of its hour of the day, in robust sds; NaN where absent."""
    usual = np.zeros_like(means)
    for hour in range(24):
        own = hour_of_day == hour
        if own.any():
            usual[own] = _nanmedian(means[own])
    residual = means - usual
    spread = 1.4826 * _nanmedian(np.abs(residual))
    low, high = np.nanquantile(np.where(np.isnan(means).all(axis=0), 0.0, means), [0.01, 0.99], axis=0)
    floor = np.maximum(0.01 * (high - low), 1e-3 * (1.0 + np.abs(_nanmedian(means))))
    deviation: npt.NDArray[np.float64] = residual / np.maximum(spread, floor)
    return deviation


def _novel(hours: npt.NDArray[np.int64], deviation: npt.NDArray[np.float64], rules: Rules) -> npt.NDArray[np.bool_]:
    """Hours of stretches that are long, far off, and unlike anything outside them."""
    suspect = np.zeros(len(hours), dtype=bool)
    for sign in (1.0, -1.0):
        signed = sign * deviation
        far = np.nan_to_num(signed, nan=0.0) > rules.suspect_sd
        for start, end in _runs(far, bridge=rules.suspect_bridge_hours):
            length = int(hours[end - 1] - hours[start]) + 1
            longest = min(24 * rules.suspect_days, rules.suspect_share * len(hours))
            if not (length <= longest and far[start:end].sum() >= rules.suspect_hours):
                continue
            outside = np.concatenate([signed[: max(0, start - 6)], signed[end + 6 :]])
            outside = outside[~np.isnan(outside)]
            inside = float(np.median(signed[start:end][far[start:end]]))
            if len(outside) and inside > float(np.quantile(outside, 0.995)) + rules.suspect_beyond:
                suspect[start:end] = True
    return suspect


def _nanmedian(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Median over the first axis, 0 for a column of nothing."""
    empty = np.isnan(values).all(axis=0)
    median: npt.NDArray[np.float64] = np.nanmedian(np.where(empty, 0.0, values), axis=0)
    return median


def _runs(flags: npt.NDArray[np.bool_], *, bridge: int = 0) -> list[tuple[int, int]]:
    """Start and end (exclusive) of runs of True; runs no more than `bridge` apart are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    runs: list[tuple[int, int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] <= bridge:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _interval(grid: Grid, server: str, start: int, end: int, reason: Reason, detail: str) -> Exclusion:
    return Exclusion(
        server_id=server,
        start_ms=int(grid.times_ms[start]),
        end_ms=int(grid.times_ms[end - 1]),
        reason=reason,
        detail=detail,
    )
