"""A stand-in for CloudWatch's GetMetricData that enforces the real quotas, in whatever time its event loop keeps.

Limits as in the AWS facts sheet, 7.3: 500 queries and 100,800 points a call, pages, 50 calls/s, 396,000 points/s
(180,000 for calls that start within three hours), points counted as asked for; 1-minute data for 15 days, 5-minute for
63, hourly for 455, a period too fine for its age refused. How AWS meters a second is not published: here each quota is
a bucket that holds one second's worth. Latency and occasional server errors come from a seed.
"""

import asyncio
import math
import random
import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from training.history.cloudwatch.fetch import Page, Points, ThrottledError, TransientError
from training.history.cloudwatch.quotas import QUOTAS, RECENT_S, TIERS, Quotas
from training.history.cloudwatch.series import Query

_TOKEN = re.compile(r"page-(\d+)")
_NOISE = 1 << 16  # minutes after which the noise repeats


class _Meter:
    """A bucket of one second's worth."""

    def __init__(self, rate: float, now_s: Callable[[], float]) -> None:
        self._rate, self._now_s = rate, now_s
        self._left, self._at_s = rate, now_s()

    def take(self, units: float) -> bool:
        now_s = self._now_s()
        self._left = min(self._rate, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if units > self._left:
            return False
        self._left -= units
        return True


class Fleet:
    """Every series' value at every minute: a level, a daily wave and noise, made when asked; some may be silent."""

    def __init__(self, *, seed: int = 7, silent: Callable[[str, int], tuple[int, int] | None] | None = None) -> None:
        rng = np.random.default_rng(seed)
        self._noise = rng.normal(size=_NOISE)
        self._silent = silent or (lambda server, column: None)

    def values(self, query: Query, times_s: np.ndarray, period_s: int) -> Points:
        """The averages over [t, t + period) of minutes, as CloudWatch keeps them; nothing where all are silent."""
        server = dict(query.dimensions).get("InstanceId", "")
        series = hash_of(f"{server}/{query.part.name}")
        minutes = times_s // 60
        width = max(1, period_s // 60)
        phase = series % 1440
        offset = series % _NOISE
        minute_of_day = (minutes + phase) % 1440 + (width - 1) / 2
        total = np.zeros(len(minutes))
        for k in range(width):
            total += self._noise[(minutes + k + offset) % _NOISE]
        values = 40.0 + 15.0 * np.sin(2 * math.pi * minute_of_day / 1440) + 3.0 * total / width
        silent = self._silent(server, query.column)
        if silent is not None:
            kept = (times_s < silent[0]) | (times_s + period_s > silent[1])
            times_s, values = times_s[kept], values[kept]
        return Points(times_s, values)


class CloudWatchStandIn:
    """See the module. Counts what it was asked and what it refused."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        start_ms: int,
        quotas: Quotas = QUOTAS,
        seed: int = 1,
        latency_s: tuple[float, float] = (0.2, 2.0),
        failing: float = 0.01,
        page_points: int | None = None,
        on_call: Callable[[int], None] = lambda _: None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._fleet, self._quotas, self._start_ms, self._on_call = fleet, quotas, start_ms, on_call
        self._latency_s, self._failing = latency_s, failing
        self._page_points = page_points or quotas.points_per_call
        self._rng = random.Random(seed)
        self._now_s = loop.time
        self._calls = _Meter(quotas.calls_per_s, loop.time)
        self._older = _Meter(quotas.points_per_s, loop.time)
        self._recent = _Meter(quotas.recent_points_per_s, loop.time)
        self.calls = self.served = self.refused = self.errors = self.queries = self.points_asked = 0

    def now_ms(self) -> int:
        """The stand-in's time of day."""
        return self._start_ms + round(self._now_s() * 1000)

    async def page(
        self, queries: Sequence[Query], *, period_s: int, start_ms: int, end_ms: int, token: str | None
    ) -> Page:
        """GetMetricData."""
        self.calls += 1
        self._on_call(self.calls)
        self._check(queries, period_s, start_ms, end_ms)
        times_s = np.arange(-(-start_ms // (1000 * period_s)) * period_s, -(-end_ms // 1000), period_s)
        recent = start_ms >= self.now_ms() - RECENT_S * 1000
        await asyncio.sleep(self._rng.uniform(0.01, 0.05))
        points = len(queries) * len(times_s)
        if not self._calls.take(1) or not (self._recent if recent else self._older).take(points):
            self.refused += 1
            raise ThrottledError("Rate exceeded")
        await asyncio.sleep(self._rng.uniform(*self._latency_s))
        if self._rng.random() < self._failing:
            self.errors += 1
            raise TransientError("InternalServiceFault")
        self.served += 1
        self.queries += len(queries)
        self.points_asked += points
        return self._answer(queries, times_s, period_s, token)

    def _answer(self, queries: Sequence[Query], times_s: np.ndarray, period_s: int, token: str | None) -> Page:
        matched = _TOKEN.fullmatch(token or "page-0")
        if matched is None:
            raise ValueError(f"InvalidNextToken: {token}")
        number = int(matched[1])
        each = max(1, self._page_points // len(queries))
        inside = times_s[number * each : (number + 1) * each]
        points = {i: self._fleet.values(query, inside, period_s) for i, query in enumerate(queries)}
        return Page(points, f"page-{number + 1}" if (number + 1) * each < len(times_s) else None)

    def _check(self, queries: Sequence[Query], period_s: int, start_ms: int, end_ms: int) -> None:
        """What CloudWatch refuses as a mistake of the caller."""
        if not 1 <= len(queries) <= self._quotas.queries_per_call:
            raise ValueError(f"ValidationError: {len(queries)} queries")
        if period_s % 60 or end_ms <= start_ms:
            raise ValueError(f"ValidationError: period {period_s}, {start_ms}..{end_ms}")
        age_s = (self.now_ms() - start_ms) / 1000
        needed = next((t.period_s for t in TIERS if age_s <= t.reach_s), None)
        if needed is None or period_s % needed:
            raise ValueError(
                f"ValidationError: {age_s / 86_400:.2f} days back needs a period of {needed}, got {period_s}"
            )


def hash_of(text: str) -> int:
    """The same number in every process."""
    return zlib.crc32(text.encode())
