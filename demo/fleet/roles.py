"""Server roles: what each kind of server does over a day, and how much."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Load at the full hours 0..23, 1.0 at the day's peak.
_OFFICE = (8, 7, 6, 6, 7, 9, 16, 36, 70, 92, 100, 97, 84, 88, 98, 99, 93, 78, 52, 34, 24, 18, 13, 10)
_CONSUMER = (30, 20, 14, 11, 11, 14, 24, 40, 55, 63, 68, 72, 76, 72, 68, 67, 70, 76, 86, 96, 100, 92, 70, 47)
_NIGHT = (85, 100, 96, 82, 60, 38, 22, 16, 18, 20, 20, 21, 22, 21, 20, 20, 21, 22, 22, 24, 26, 32, 48, 68)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Typical levels of one role; every server draws its own around them."""

    name: str
    hours: tuple[int, ...]  # the shape of a day, in percent of the peak
    weekend: float  # share of the weekday load
    idle_cpu: float  # percent without load
    peak_cpu: float  # percent added at the daily peak
    base_memory: float  # percent
    memory_per_cpu: float  # percent of memory for a percent of CPU, after the lag
    memory_lag_minutes: float
    network_mbps: float  # at the peak
    disk_iops: float  # at the peak
    nic_mbps: float = 1_000.0
    backup: bool = True  # a nightly backup, at the server's own time
    job_every_hours: int = 0  # scheduled jobs; 0: none
    month_end: float = 0.25  # extra load on the month's last two working days

    def day_shape(self) -> NDArray[np.float64]:
        """The 24 hourly loads in [0, 1]."""
        return np.asarray(self.hours, dtype=np.float64) / 100.0


WEB = Role(
    name="web", hours=_CONSUMER, weekend=1.05, idle_cpu=6, peak_cpu=46, base_memory=34, memory_per_cpu=0.42,
    memory_lag_minutes=25, network_mbps=260, disk_iops=150, backup=False, month_end=0.12,
)  # fmt: skip
APP = Role(
    name="app", hours=_OFFICE, weekend=0.3, idle_cpu=5, peak_cpu=52, base_memory=38, memory_per_cpu=0.48,
    memory_lag_minutes=40, network_mbps=120, disk_iops=220, month_end=0.3,
)  # fmt: skip
DATABASE = Role(
    name="db", hours=_OFFICE, weekend=0.4, idle_cpu=9, peak_cpu=42, base_memory=58, memory_per_cpu=0.3,
    memory_lag_minutes=60, network_mbps=190, disk_iops=2_600, month_end=0.35,
)  # fmt: skip
CACHE = Role(
    name="cache", hours=_CONSUMER, weekend=1.0, idle_cpu=4, peak_cpu=24, base_memory=62, memory_per_cpu=0.35,
    memory_lag_minutes=90, network_mbps=620, disk_iops=40, nic_mbps=10_000.0, backup=False, month_end=0.12,
)  # fmt: skip
BATCH = Role(
    name="batch", hours=_NIGHT, weekend=0.8, idle_cpu=4, peak_cpu=44, base_memory=28, memory_per_cpu=0.5,
    memory_lag_minutes=15, network_mbps=90, disk_iops=900, job_every_hours=2, month_end=0.3,
)  # fmt: skip
STORAGE = Role(
    name="store", hours=_OFFICE, weekend=0.5, idle_cpu=6, peak_cpu=20, base_memory=44, memory_per_cpu=0.35,
    memory_lag_minutes=30, network_mbps=420, disk_iops=3_800, nic_mbps=10_000.0, month_end=0.2,
)  # fmt: skip

# Dealt in this order, so that ten servers already hold every role.
PATTERN = (WEB, APP, DATABASE, WEB, CACHE, APP, BATCH, WEB, APP, STORAGE)


def role_of(index: int) -> Role:
    """The role of the fleet's server number `index`."""
    return PATTERN[index % len(PATTERN)]


def server_names(servers: int) -> list[str]:
    """The server ids of a fleet by index: role and number, such as `web-004`."""
    counts: dict[str, int] = {}
    names = []
    for index in range(servers):
        role = role_of(index).name
        counts[role] = counts.get(role, 0) + 1
        names.append(f"{role}-{counts[role]:03d}")
    return names
