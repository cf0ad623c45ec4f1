"""What fleet to make."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import numpy as np

from treeline.core.errors import UsageError

METRICS = ("cpu_percent", "memory_percent", "network_mbps", "disk_iops")
DISK_USED = "disk_used_percent"  # a fifth metric, for fleets whose disks can fill


class IncidentKind(StrEnum):
    """What can go wrong with a server; the value stands in the incidents CSV."""

    CPU_SPIKE = "cpu_spike"
    MEMORY_LEAK = "memory_leak"
    SUDDEN_DROP = "sudden_drop"
    EXFILTRATION = "exfiltration"
    DDOS = "ddos"
    BROKEN_CORRELATION = "broken_correlation"
    DISK_STORM = "disk_storm"
    OFF_HOURS = "off_hours"
    FLAPPING = "flapping"


class AddedKind(StrEnum):
    """What goes wrong only in fleets with additions; not in `--kinds`, whose order decides what a plain fleet gets."""

    DEPLOY_ERRORS = "deploy_errors"  # the new version refuses most requests
    DEPLOY_SLOW = "deploy_slow"  # it needs far more CPU for each
    DEPLOY_LEAK = "deploy_leak"  # it loses memory
    DISK_LEAK = "disk_leak"
    NETWORK_LOSS = "network_loss"
    SLOW_DEPENDENCY = "slow_dependency"
    ZONE_OUTAGE = "zone_outage"
    SILENT = "silent"  # nothing arrives: no value is abnormal


class Addition(StrEnum):
    """What `--with` adds to a plain fleet. Append only: the place in this list seeds an addition's random numbers."""

    OBJECTIVES = "objectives"
    DEPLOYS = "deploys"
    MONTH_ENDS = "month-ends"
    BIMODAL = "bimodal"
    REPLACED_SERVERS = "replaced-servers"
    DISK_LEAKS = "disk-leaks"
    SHARED_EVENTS = "shared-events"
    SILENT_AGENTS = "silent-agents"


ADDITION_OF: dict[IncidentKind | AddedKind, Addition] = {
    AddedKind.DEPLOY_ERRORS: Addition.DEPLOYS,
    AddedKind.DEPLOY_SLOW: Addition.DEPLOYS,
    AddedKind.DEPLOY_LEAK: Addition.DEPLOYS,
    AddedKind.DISK_LEAK: Addition.DISK_LEAKS,
    AddedKind.NETWORK_LOSS: Addition.SHARED_EVENTS,
    AddedKind.SLOW_DEPENDENCY: Addition.SHARED_EVENTS,
    AddedKind.ZONE_OUTAGE: Addition.SHARED_EVENTS,
    AddedKind.SILENT: Addition.SILENT_AGENTS,
}
_STREAM_OF = {addition: 0x100000 + place for place, addition in enumerate(Addition)}  # above every server's index


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """A fleet and its time range; the same plan gives the same file, byte for byte of data.

    Raises UsageError for a value outside its range.
    """

    servers: int = 100
    days: float = 14.0
    step_s: int = 60
    seed: int = 7
    # Chosen so that the month-end load of the 29th and 30th of October falls into the test part.
    start: datetime = datetime(2026, 10, 19, tzinfo=UTC)
    train_fraction: float = 0.5  # incidents happen only after it
    incidents_per_server_week: float = 0.7
    kinds: tuple[IncidentKind, ...] = tuple(IncidentKind)
    additions: frozenset[Addition] = frozenset()
    missing_rows: float = 0.0005  # share of rows that never arrived, beside outages of the agent
    missing_values: float = 0.0005  # share of single metrics missing from a row, beside runs of them

    def __post_init__(self) -> None:
        checks = (
            (1 <= self.servers <= 100_000, "servers", self.servers, "1 to 100000"),
            (0.25 <= self.days <= 1500, "days", self.days, "0.25 to 1500"),
            (5 <= self.step_s <= 3600, "step", self.step_s, "5 to 3600 seconds"),
            (self.seed >= 0, "seed", self.seed, "0 or more"),
            (0 < self.train_fraction < 1, "train fraction", self.train_fraction, "a number between 0 and 1"),
            (0 <= self.incidents_per_server_week <= 14, "incidents", self.incidents_per_server_week, "0 to 14"),
            (bool(self.kinds), "kinds", "none", "at least one kind of incident"),
            (0 <= self.missing_rows <= 0.5, "missing rows", self.missing_rows, "a share up to 0.5"),
            (0 <= self.missing_values <= 0.5, "missing values", self.missing_values, "a share up to 0.5"),
            (self.start.tzinfo is not None, "start", self.start.isoformat(), "a time with a zone"),
        )
        for good, name, value, expected in checks:
            if not good:
                raise UsageError(f"{name} is {value}, expected {expected}")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric columns of the fleet."""
        return (*METRICS, DISK_USED) if Addition.DISK_LEAKS in self.additions else METRICS

    @property
    def test_weeks(self) -> float:
        """Length of the test part."""
        return (self.rows_per_server - self.train_rows) * self.step_s / (7 * 86_400)

    def rng(self, addition: Addition, *numbers: int) -> np.random.Generator:
        """Random numbers of one addition: the fleet's, or those of a server, service or incident of these numbers."""
        # numpy pads a seed with zeros, so a 0 at the end would be the same stream as none.
        return np.random.default_rng([self.seed, _STREAM_OF[addition], *(number + 1 for number in numbers)])

    @property
    def rows_per_server(self) -> int:
        """Steps in the range; a server has slightly fewer rows, for its gaps."""
        return int(timedelta(days=self.days) / timedelta(seconds=self.step_s))

    @property
    def train_rows(self) -> int:
        """Steps before the test part."""
        return max(1, int(self.rows_per_server * self.train_fraction))

    def minutes(self, minutes: float) -> int:
        """A duration as whole steps, at least one."""
        return max(1, round(minutes * 60 / self.step_s))


# What `treeline demo` replays the last tenth of, with a month's end in it: a load that is no incident. It has far more
# incidents than a real fleet, so that a short replay holds some of each kind.
DEMO = FleetPlan(
    servers=20, start=datetime(2026, 10, 17, tzinfo=UTC), train_fraction=0.9, incidents_per_server_week=4.0
)
