"""Fetch a plan's chunks: many calls at once, under the quotas, each chunk written once and for all."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.history.cloudwatch.pace import Pace, full_jitter_s
from training.history.cloudwatch.plan import Chunk, FetchPlan, still_served
from training.history.cloudwatch.quotas import RECENT_S, FetchLimits
from training.history.cloudwatch.series import Query
from training.history.cloudwatch.store import FetchedChunk, HistoryStore, rows_table
from treeline.core.errors import TreelineError
from treeline.core.times import iso


class HistoryError(TreelineError):
    """A chunk could not be fetched; what is finished stays, and the next run goes on from there."""


class ThrottledError(TreelineError):
    """CloudWatch refused a call for its rate: wait and ask again, slower."""


class TransientError(TreelineError):
    """CloudWatch or the way to it failed; the same call may work in a moment."""


@dataclass(frozen=True, slots=True)
class Points:
    """One series: times (n,) int64 seconds and values (n,) float64, in any order."""

    times_s: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: points by position of the query asked, and the token of the next page."""

    points: dict[int, Points]
    next_token: str | None = None


class MetricData(Protocol):
    """CloudWatch's GetMetricData."""

    async def page(
        self, queries: Sequence[Query], *, period_s: int, start_ms: int, end_ms: int, token: str | None
    ) -> Page:
        """One call; raises ThrottledError or TransientError when it is worth another try."""


@dataclass(slots=True)
class Fetched:
    """What a run did; `calls` counts every request, refused and repeated ones included."""

    chunks: int = 0
    calls: int = 0
    refused: int = 0
    failed: int = 0
    points: int = 0
    lost_chunks: list[str] = field(default_factory=list)


Progress = Callable[[Fetched], None]


async def fetch(
    plan: FetchPlan,
    source: MetricData,
    store: HistoryStore,
    *,
    limits: FetchLimits,
    now_ms: Callable[[], int],
    rng: random.Random,
    progress: Progress = lambda _: None,
) -> Fetched:
    """Fetch what the store does not hold yet.

    Args:
        plan: What to fetch; its finished chunks are left alone.
        source: CloudWatch.
        store: Holds the finished chunks.
        limits: Pace, parallel calls and tries.
        now_ms: The time of day, to see which tier still holds a chunk.
        rng: For the backoff.
        progress: Told after every chunk.

    Raises:
        HistoryError: Some chunks failed on every try; the others are done.
    """
    loop = asyncio.get_running_loop()
    finished = store.finished(plan)
    waiting = iter([chunk for chunk in plan.chunks if chunk not in finished])
    done = Fetched()
    pace = Pace(
        calls_per_s=limits.calls_per_s,
        points_per_s=limits.points_per_s,
        recent_points_per_s=limits.recent_points_per_s,
        now_s=loop.time,
    )
    worker = _Worker(plan, source, store, limits, now_ms, rng, pace, done)

    async def work() -> None:
        for chunk in waiting:
            await worker.fetch_chunk(chunk)
            progress(done)

    await asyncio.gather(*(work() for _ in range(limits.parallel_calls)))
    if done.lost_chunks:
        raise HistoryError(
            f"{len(done.lost_chunks)} of {len(plan.chunks)} chunks could not be fetched, the first because: "
            f"{done.lost_chunks[0]}; run the same command again to go on"
        )
    return done


@dataclass(slots=True)
class _Worker:
    plan: FetchPlan
    source: MetricData
    store: HistoryStore
    limits: FetchLimits
    now_ms: Callable[[], int]
    rng: random.Random
    pace: Pace
    done: Fetched

    async def fetch_chunk(self, chunk: Chunk) -> None:
        calls_before = self.done.calls
        served = still_served(chunk, self.now_ms())
        if served is None:
            self.done.lost_chunks.append(f"CloudWatch no longer keeps what began at {iso(chunk.start_ms)}")
            return
        servers = self.plan.servers[chunk.first : chunk.last]
        queries = [query for server in servers for query in server.queries]
        try:
            points = await self._all_pages(queries, served)
        except (ThrottledError, TransientError) as error:
            self.done.lost_chunks.append(str(error))
            return
        entry = self._write(chunk, served, points, self.done.calls - calls_before)
        self.done.chunks += 1
        self.done.points += sum(n for rows in entry.points.values() for n, _, _ in rows)

    async def _all_pages(self, queries: Sequence[Query], chunk: Chunk) -> list[Points]:
        parts: list[list[Points]] = [[] for _ in queries]
        token: str | None = None
        while True:
            page = await self._page(queries, chunk, token)
            for position, points in page.points.items():
                parts[position].append(points)
            token = page.next_token
            if token is None:
                return [_joined(pieces) for pieces in parts]

    async def _page(self, queries: Sequence[Query], chunk: Chunk, token: str | None) -> Page:
        period_s, points = self.plan.period_s(chunk), self.plan.points(chunk)
        for attempt in range(self.limits.attempts):
            recent = chunk.start_ms >= self.now_ms() - RECENT_S * 1000
            await self.pace.take(points, recent=recent)
            self.done.calls += 1
            try:
                page = await self.source.page(
                    queries, period_s=period_s, start_ms=chunk.start_ms, end_ms=chunk.end_ms, token=token
                )
            except ThrottledError:
                self.done.refused += 1
                self.pace.refused(recent=recent)
                if attempt + 1 == self.limits.attempts:
                    raise
            except TransientError:
                self.done.failed += 1
                if attempt + 1 == self.limits.attempts:
                    raise
            else:
                self.pace.served(recent=recent)
                return page
            limits = self.limits
            await asyncio.sleep(
                full_jitter_s(attempt, base_s=limits.backoff_base_s, cap_s=limits.backoff_cap_s, rng=self.rng)
            )
        raise HistoryError("a fetch needs at least one attempt a call")

    def _write(self, chunk: Chunk, served: Chunk, points: Sequence[Points], calls: int) -> FetchedChunk:
        plan, period_s = self.plan, self.plan.period_s(served)
        names, times, values, counts = [], [], [], {}
        position = 0
        for server in plan.servers[chunk.first : chunk.last]:
            own = points[position : position + len(server.queries)]
            position += len(server.queries)
            rows_at, rows = _rows(server.queries, own, len(plan.metrics), period_s)
            names.append(server.server_id)
            times.append(rows_at * 1000)
            values.append(rows)
            counts[server.server_id] = _coverage(rows_at, rows)
        table = rows_table(names, times, values, plan.metrics)
        return self.store.finish(plan, chunk, period_s=period_s, table=table, points=counts, calls=calls)


def _joined(pieces: Sequence[Points]) -> Points:
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return Points(np.empty(0, np.int64), np.empty(0))
    return Points(np.concatenate([p.times_s for p in pieces]), np.concatenate([p.values for p in pieces]))


def _rows(
    queries: Sequence[Query], points: Sequence[Points], metrics: int, period_s: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """One server's rows: times (n,) in seconds, increasing, and values (n, metrics).

    A metric is the sum of its parts; where one part is missing, so is the metric.
    """
    times = np.unique(np.concatenate([p.times_s for p in points])) if points else np.empty(0, np.int64)
    totals = np.full((len(times), metrics), np.nan)
    for column in {query.column for query in queries}:
        total = np.zeros(len(times))
        for query, own in zip(queries, points, strict=True):
            if query.column != column:
                continue
            part = np.full(len(times), np.nan)
            part[np.searchsorted(times, own.times_s)] = own.values
            total += part * (query.part.factor / (period_s if query.part.per_second else 1.0))
        totals[:, column] = total
    return times, totals.astype(np.float32)


def _coverage(times_s: NDArray[np.int64], rows: NDArray[np.float32]) -> list[tuple[int, int, int]]:
    """By metric: points, and the first and last of them in ms (-1 where there is none)."""
    found = []
    for column in range(rows.shape[1]):
        present = times_s[~np.isnan(rows[:, column])]
        found.append((len(present), int(present[0]) * 1000, int(present[-1]) * 1000) if len(present) else (0, -1, -1))
    return found
