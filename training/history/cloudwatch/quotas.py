"""What CloudWatch keeps, allows and charges; numbers and their sources: the AWS facts sheet, section 7.3."""

from dataclasses import dataclass

DAY_S = 86_400
DOLLARS_PER_QUERY = 0.01 / 1000  # GetMetricData bills each metric of each call
RECENT_S = 3 * 3600  # a call that starts within the last three hours counts against a quota of its own


@dataclass(frozen=True, slots=True)
class Retention:
    """How fine CloudWatch keeps data of an age: `period_s` seconds, up to `reach_s` seconds back."""

    period_s: int
    reach_s: int


TIERS = (Retention(60, 15 * DAY_S), Retention(300, 63 * DAY_S), Retention(3600, 455 * DAY_S))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """GetMetricData's limits for one account and region; points are counted as asked for, not as returned."""

    calls_per_s: float = 50.0
    points_per_s: float = 396_000.0
    recent_points_per_s: float = 180_000.0
    queries_per_call: int = 500
    points_per_call: int = 100_800

    def floor_s(self, *, calls: int, points: int, recent_points: int = 0) -> float:
        """The least time (s) in which a well-behaved caller can be served: no faster than each quota allows."""
        return max(calls / self.calls_per_s, points / self.points_per_s + recent_points / self.recent_points_per_s)


QUOTAS = Quotas()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What we allow ourselves; below the quotas, which the account's dashboards and other readers share."""

    calls_per_s: float = 20.0
    points_per_s: float = 0.95 * 396_000.0
    recent_points_per_s: float = 0.95 * 180_000.0
    parallel_calls: int = 12
    attempts: int = 12  # of one call, throttled or failed, before its chunk is given up
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
