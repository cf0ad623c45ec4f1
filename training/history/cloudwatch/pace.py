"""How fast to call: an even pace below the quotas, slower after a refusal, and full-jitter backoff."""

import asyncio
import random
from collections.abc import Awaitable, Callable

Sleep = Callable[[float], Awaitable[None]]


class TokenBucket:
    """A token bucket for units that come in large lumps: each lump starts once the ones before it are paid off.

    Calls of 100,000 points against a quota of 400,000 a second leave no room for bursts, so there are none.
    """

    def __init__(self, rate: float, now_s: Callable[[], float]) -> None:
        self.rate = rate  # units a second, > 0
        self._full_rate = rate
        self._now_s = now_s  # any monotonic clock
        self._paid_off_at = now_s()

    def reserve(self, units: float) -> float:
        """Take units; returns how long to wait (s) before using them."""
        start = max(self._now_s(), self._paid_off_at)
        self._paid_off_at = start + units / self.rate
        return start - self._now_s()

    def slow_down(self) -> None:
        """After a refusal: somebody else uses this quota too."""
        self.rate = max(0.8 * self.rate, 0.05 * self._full_rate)

    def speed_up(self) -> None:
        """After a served call: back towards the full rate, in about 30 calls from the half."""
        self.rate = min(self.rate + 0.02 * self._full_rate, self._full_rate)


class Pace:
    """The buckets of one account and region, shared by all workers of a fetch."""

    def __init__(
        self,
        *,
        calls_per_s: float,
        points_per_s: float,
        recent_points_per_s: float,
        now_s: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._calls = TokenBucket(calls_per_s, now_s)
        self._older = TokenBucket(points_per_s, now_s)
        self._recent = TokenBucket(recent_points_per_s, now_s)
        self._sleep = sleep

    async def take(self, points: int, *, recent: bool) -> None:
        """Wait until a call of so many points may start."""
        waits = self._calls.reserve(1), self._lane(recent).reserve(points)
        await self._sleep(max(waits))

    def refused(self, *, recent: bool) -> None:
        """The service throttled a call."""
        self._calls.slow_down()
        self._lane(recent).slow_down()

    def served(self, *, recent: bool) -> None:
        """The service took a call."""
        self._calls.speed_up()
        self._lane(recent).speed_up()

    def _lane(self, recent: bool) -> TokenBucket:
        return self._recent if recent else self._older


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float, rng: random.Random) -> float:
    """A random wait between 0 and min(cap, base * 2^attempt): callers that failed together come back apart."""
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(attempt, 30)))
