"""What of the plan is really there: completeness by server and metric, and who lacks an agent or a metric."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from training.history.cloudwatch.plan import Chunk, FetchPlan
from training.history.cloudwatch.store import FetchedChunk
from training.history.files import History, Times, Values
from treeline.core.model.ratios import is_percent, ratio_hours

ENOUGH = 0.995
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One metric of one server: the share of its time that has data, None where nothing was ever published."""

    server_id: str
    metric: str
    covered_s: float
    expected_s: float

    @property
    def completeness(self) -> float:
        """In [0, 1]; a metric that should be there and never was has 0."""
        return self.covered_s / self.expected_s if self.expected_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OddValues:
    """One metric of one server whose values are not what its declaration leads to expect."""

    server_id: str
    metric: str
    impossible: int = 0  # values that are infinite or beyond the declared range; nothing learns from them
    ratio_hours: int = 0  # hours of a metric in percent whose values all lie within 0 to 1, and are not all 0
    hours: int = 0  # hours that have a value

    def __str__(self) -> str:
        """As people read it."""
        values = "value" if self.impossible == 1 else "values"
        told = [f"{self.impossible:,} {values} that cannot be, left out"] if self.impossible else []
        if self.ratio_hours:
            told.append(
                f"probably a ratio and not percent, or nearly idle: all values within 0 to 1 in {self.ratio_hours:,} "
                f"of {self.hours:,} hours"
            )
        return f"{self.server_id} {self.metric}: {'; '.join(told)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a fetch has brought."""

    # By server and metric. A server's time counts from its own first point, of whichever metric.
    coverage: tuple[Coverage, ...]
    chunks: int
    chunks_missing: int  # planned, not fetched (yet)
    silent_servers: tuple[str, ...] = ()  # without a single point of any metric
    # By server that has some, the metrics it has none of: no agent, or not configured.
    missing_metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    odd_values: tuple[OddValues, ...] = ()  # the oddest first; only where the values themselves were read

    @property
    def completeness(self) -> float:
        """Of the whole fleet, by time; unfetched chunks count as absent."""
        expected = sum(c.expected_s for c in self.coverage)
        return sum(c.covered_s for c in self.coverage) / expected if expected else 0.0

    def by_metric(self, metric: str) -> float:
        """Of one metric over all servers."""
        own = [c for c in self.coverage if c.metric == metric]
        expected = sum(c.expected_s for c in own)
        return sum(c.covered_s for c in own) / expected if expected else 0.0

    def gaps(self, enough: float) -> list[Coverage]:
        """What falls short though it is published, the emptiest first."""
        low = [c for c in self.coverage if 0 < c.completeness < enough]
        return sorted(low, key=lambda c: (c.completeness, c.server_id, c.metric))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "completeness": self.completeness,
            "chunks": self.chunks,
            "chunks_missing": self.chunks_missing,
            "silent_servers": list(self.silent_servers),
            "missing_metrics": {s: list(names) for s, names in self.missing_metrics.items()},
            "odd_values": [asdict(odd) for odd in self.odd_values],
            "coverage": [{**asdict(c), "completeness": c.completeness} for c in self.coverage],
        }


def audit(plan: FetchPlan, finished: Mapping[Chunk, FetchedChunk]) -> Audit:
    """Judge a fetch by its journal; reads no data."""
    covered: dict[tuple[str, int], float] = {}
    first_ms: dict[str, int] = {}
    counted: dict[str, list[tuple[int, int, int]]] = {}  # (start, end, period) of a server's chunks
    for chunk in plan.chunks:
        entry = finished.get(chunk)
        period_s = entry.period_s if entry else plan.period_s(chunk)
        for server in plan.servers[chunk.first : chunk.last]:
            counted.setdefault(server.server_id, []).append((chunk.start_ms, chunk.end_ms, period_s))
        for server_id, metrics in entry.points.items() if entry else ():
            for column, (points, first, _) in enumerate(metrics):
                key = server_id, column
                covered[key] = covered.get(key, 0.0) + points * period_s
                if points:
                    first_ms[server_id] = min(first, first_ms.get(server_id, first))
    coverage, missing, silent = [], {}, []
    for server in plan.servers:
        name = server.server_id
        lacking = tuple(m for c, m in enumerate(plan.metrics) if not covered.get((name, c)))
        if name not in first_ms:
            silent.append(name)
        elif lacking:
            missing[name] = lacking
        spans = counted.get(name, [(plan.start_ms, plan.end_ms, 60)])
        expected = sum(_points(start, end, period, first_ms.get(name, start)) * period for start, end, period in spans)
        coverage += [
            Coverage(server_id=name, metric=metric, covered_s=covered.get((name, column), 0.0), expected_s=expected)
            for column, metric in enumerate(plan.metrics)
        ]
    return Audit(
        coverage=tuple(coverage),
        chunks=len(plan.chunks),
        chunks_missing=len(plan.chunks) - len(finished),
        silent_servers=tuple(sorted(silent)),
        missing_metrics=dict(sorted(missing.items())),
    )


def audit_history(history: History) -> Audit:
    """Judge any history by its own step: how many of the rows between a server's first and the fleet's last exist."""
    coverage, missing, silent, odd = [], {}, [], []
    for server in history.servers:
        times, values = history.matrix(server)
        odd += _odd_values(history, server, times, values)
        steps = (history.end_ms - int(times[0])) / (1000 * history.step_s) + 1
        expected = steps * history.step_s
        counts = (~np.isnan(values)).sum(axis=0)
        lacking = tuple(m for m, count in zip(history.metrics, counts, strict=True) if not count)
        if len(lacking) == len(history.metrics):
            silent.append(server)
        elif lacking:
            missing[server] = lacking
        coverage += [
            Coverage(
                server_id=server,
                metric=metric,
                covered_s=min(float(count) * history.step_s, expected),
                expected_s=expected,
            )
            for metric, count in zip(history.metrics, counts, strict=True)
        ]
    return Audit(
        coverage=tuple(coverage),
        chunks=0,
        chunks_missing=0,
        silent_servers=tuple(silent),
        missing_metrics=missing,
        odd_values=tuple(sorted(odd, key=lambda each: (-each.ratio_hours, -each.impossible))),
    )


def _odd_values(history: History, server: str, times: Times, values: Values) -> list[OddValues]:
    in_file = history.matrix(server, as_in_file=True)[1]
    impossible = (np.isnan(values) & ~np.isnan(in_file)).sum(axis=0)
    looking, hours = ratio_hours(times // _HOUR_MS, values)
    found = [
        OddValues(
            server_id=server,
            metric=metric.name,
            impossible=int(impossible[column]),
            ratio_hours=int(looking[column]) if is_percent(metric) else 0,
            hours=int(hours[column]),
        )
        for column, metric in enumerate(history.metric_declarations)
    ]
    return [each for each in found if each.impossible or each.ratio_hours]


def _points(start_ms: int, end_ms: int, period_s: int, from_ms: int) -> int:
    """Periods that begin in [start, end) and not before `from_ms`."""
    period_ms = 1000 * period_s
    first = -(-max(start_ms, from_ms) // period_ms)
    return max(0, -(-end_ms // period_ms) - first)
