"""What to ask CloudWatch for: chunks of whole servers and whole hours, each one call, along the retention tiers."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from training.history.cloudwatch.quotas import (
    DOLLARS_PER_QUERY,
    QUOTAS,
    RECENT_S,
    TIERS,
    FetchLimits,
    Quotas,
    Retention,
)
from training.history.cloudwatch.series import Server, servers_from_json
from treeline.core.errors import UsageError
from treeline.core.times import iso

HOUR_MS = 3_600_000
# Data leaves its tier while the fetch runs; this much of each tier is left to the coarser one from the start.
MARGIN_MS = 6 * HOUR_MS
CALLS_OVER_FEWEST = 1.05  # more calls than this factor are not worth the cheaper, longer chunks
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One call: the servers `first` to `last` (exclusive) over [start_ms, end_ms) at one period."""

    first: int
    last: int
    period_s: int
    start_ms: int
    end_ms: int

    @property
    def name(self) -> str:
        """Unique in a plan, the same in every run of it."""
        start = iso(self.start_ms)[:16].replace("-", "").replace(":", "")
        return f"block={self.first:05d}/{start}Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPlan:
    """A fetch, decided: who, what, when, in which calls."""

    made_ms: int  # when it was planned; the tiers count back from here
    # The range, end exclusive.
    start_ms: int
    end_ms: int
    metrics: tuple[str, ...]  # our metrics' names, the columns of what is written
    servers: tuple[Server, ...]  # in the order the chunks refer to
    chunks: tuple[Chunk, ...]  # most perishable first: oldest data of the finest tier leads

    def queries(self, chunk: Chunk) -> int:
        """Series asked for in a chunk's call."""
        return sum(len(server.queries) for server in self.servers[chunk.first : chunk.last])

    def period_s(self, chunk: Chunk) -> int:
        """The period its queries name: never finer than the servers publish."""
        return max(chunk.period_s, self.servers[chunk.first].step_s)

    def points(self, chunk: Chunk) -> int:
        """Points the call counts for: those asked for, whether they exist or not."""
        return self.queries(chunk) * math.ceil((chunk.end_ms - chunk.start_ms) / (1000 * self.period_s(chunk)))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "FetchPlan":
        """Read what `to_json` wrote; raises UsageError for another format."""
        if body.get("format") != FORMAT:
            raise UsageError(f"the plan has format {body.get('format')!r}, this version reads {FORMAT}: plan anew")
        return cls(
            made_ms=body["made_ms"],
            start_ms=body["start_ms"],
            end_ms=body["end_ms"],
            metrics=tuple(body["metrics"]),
            servers=servers_from_json(body["servers"]),
            chunks=tuple(Chunk(**chunk) for chunk in body["chunks"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a plan will take: calls, queries (each is billed), points, and the least and the expected time."""

    calls: int
    queries: int
    points: int
    recent_points: int
    floor_s: float
    expected_s: float

    @property
    def dollars(self) -> float:
        """GetMetricData's price; requests beyond the plan (retries of failed calls) come on top."""
        return self.queries * DOLLARS_PER_QUERY


def make_plan(
    servers: Sequence[Server],
    metrics: Sequence[str],
    *,
    start_ms: int,
    end_ms: int,
    now_ms: int,
    quotas: Quotas = QUOTAS,
) -> FetchPlan:
    """Plan a fetch.

    Args:
        servers: Those without a single query are kept, for the audit, and asked nothing.
        metrics: Our metrics' names, in column order.
        start_ms: First moment wanted; rounded down to the hour, and up to what CloudWatch still has.
        end_ms: First moment not wanted; rounded down to the minute.
        now_ms: The tiers count back from here.
        quotas: Of one call.

    Raises:
        UsageError: The range is empty, or a server has more series than a call takes.
    """
    end_ms = min(end_ms, now_ms) // 60_000 * 60_000
    oldest = _hour_up(now_ms - TIERS[-1].reach_s * 1000 + MARGIN_MS)
    start_ms = max(start_ms // HOUR_MS * HOUR_MS, oldest)
    if start_ms >= end_ms:
        raise UsageError(
            f"nothing to fetch between {iso(start_ms)} and {iso(end_ms)}; CloudWatch keeps data from {iso(oldest)} on"
        )
    ordered = sorted(servers, key=lambda s: (not s.queries, len(s.queries), s.step_s, s.server_id))
    chunks: list[Chunk] = []
    for tier, since, until in _spans(start_ms, end_ms, now_ms):
        for first, last in _alike(ordered):
            chunks += _chunks(ordered, first, last, tier, since, until, quotas)
    chunks.sort(key=lambda c: (c.period_s, c.start_ms, c.first))
    return FetchPlan(
        made_ms=now_ms,
        start_ms=start_ms,
        end_ms=end_ms,
        metrics=tuple(metrics),
        servers=tuple(ordered),
        chunks=tuple(chunks),
    )


def cost(plan: FetchPlan, chunks: Sequence[Chunk], *, limits: FetchLimits, quotas: Quotas = QUOTAS) -> Cost:
    """What fetching these chunks of a plan takes."""
    recent_from = plan.made_ms - RECENT_S * 1000
    recent = sum(plan.points(c) for c in chunks if c.start_ms >= recent_from)
    older = sum(plan.points(c) for c in chunks) - recent
    calls = len(chunks)
    expected = max(calls / limits.calls_per_s, older / limits.points_per_s + recent / limits.recent_points_per_s)
    return Cost(
        calls=calls,
        queries=sum(plan.queries(c) for c in chunks),
        points=older + recent,
        recent_points=recent,
        floor_s=quotas.floor_s(calls=calls, points=older, recent_points=recent),
        expected_s=expected,
    )


def still_served(chunk: Chunk, now_ms: int) -> Chunk | None:
    """The chunk at the finest period CloudWatch still has for all of it; None once it is gone altogether.

    Chunks begin on whole hours, so the coarser one covers the same time to the point.
    """
    age_s = (now_ms - chunk.start_ms) / 1000
    tier = next((t for t in TIERS if t.period_s >= chunk.period_s and age_s <= t.reach_s), None)
    return None if tier is None else replace(chunk, period_s=tier.period_s)


def _spans(start_ms: int, end_ms: int, now_ms: int) -> list[tuple[Retention, int, int]]:
    """Each tier's part of the range, borders on whole hours."""
    spans, until = [], end_ms
    for tier in TIERS:
        since = max(start_ms, _hour_up(now_ms - tier.reach_s * 1000 + MARGIN_MS))
        if since < until:
            spans.append((tier, since, until))
            until = since
    return spans


def _hour_up(ms: int) -> int:
    return -(-ms // HOUR_MS) * HOUR_MS


def _alike(servers: Sequence[Server]) -> list[tuple[int, int]]:
    """Runs of servers with equally many series, equally often published; those without series are in none."""
    runs: list[tuple[int, int]] = []
    for i, server in enumerate(servers):
        if not server.queries:
            break
        if runs and _shape(servers[runs[-1][0]]) == _shape(server):
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def _shape(server: Server) -> tuple[int, int]:
    return len(server.queries), server.step_s


def _chunks(
    servers: Sequence[Server], first: int, last: int, tier: Retention, since: int, until: int, quotas: Quotas
) -> list[Chunk]:
    queries, step_s = _shape(servers[first])
    period_ms = 1000 * max(tier.period_s, step_s)
    if queries > quotas.queries_per_call:
        raise UsageError(
            f"{servers[first].server_id} has {queries} series, a call takes {quotas.queries_per_call}: "
            "split the metric set"
        )
    hours = max(1, math.ceil((until - since) / HOUR_MS))
    options = []
    for pieces in range(1, hours + 1):
        span_hours = math.ceil(hours / pieces)
        points = queries * math.ceil(span_hours * HOUR_MS / period_ms)
        together = min(quotas.points_per_call // points, quotas.queries_per_call // queries, last - first)
        if together:
            used = math.ceil(hours / span_hours)
            options.append((used * math.ceil((last - first) / together), used, span_hours, together))
        if together == last - first or together == quotas.queries_per_call // queries:
            break  # shorter chunks would only be more
    fewest = min(calls for calls, *_ in options)
    # Long chunks ask for each series less often, which is what costs money.
    _, _, span_hours, together = min(
        (o for o in options if o[0] <= CALLS_OVER_FEWEST * fewest), key=lambda o: (o[1], o[0])
    )
    return [
        Chunk(
            first=low,
            last=min(low + together, last),
            period_s=tier.period_s,
            start_ms=begin,
            end_ms=min(begin + span_hours * HOUR_MS, until),
        )
        for begin in range(since, until, span_hours * HOUR_MS)
        for low in range(first, last, together)
    ]
