"""Dispatch: the heartbeat, by which every group is scored twice a minute even where no tick of ingest arrived."""

from collections.abc import Callable
from dataclasses import dataclass

from treeline.app.detect.ticks import DelayedTick, Tick, TickCause, TickQueue
from treeline.app.metrics import OwnMetric
from treeline.app.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSize:
    """How many servers there are. A retired one keeps its number and its place in its group."""

    registered: int
    retired: int = 0

    @property
    def expected(self) -> int:
        """Those of which something should come."""
        return self.registered - self.retired


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOutcome:
    """What one heartbeat did; a failed tick is made up by the next heartbeat, half a minute later."""

    servers: int  # that are not retired
    groups: int
    ticks_sent: int
    ticks_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchService:
    """Sends each group one tick for now and one for `second_tick_delay_s` later.

    A schedule cannot run more often than every minute, hence the second tick with its delay.
    """

    servers: Callable[[], FleetSize]
    ticks: TickQueue
    group_size: int
    second_tick_delay_s: int

    def dispatch(self) -> DispatchOutcome:
        """Send the ticks of one heartbeat; with no server yet there is nothing to send."""
        servers = self.servers()
        groups = -(-servers.registered // self.group_size)
        ticks = [
            DelayedTick(tick=Tick(group=group, since_ms=None, cause=TickCause.HEARTBEAT), delay_s=delay_s)
            for delay_s in (0, self.second_tick_delay_s)
            for group in range(groups)
        ]
        failed = len(self.ticks.send(ticks))
        return DispatchOutcome(
            servers=servers.expected, groups=groups, ticks_sent=len(ticks) - failed, ticks_failed=failed
        )


def report(telemetry: Telemetry, outcome: DispatchOutcome) -> None:
    """Write what one heartbeat did."""
    telemetry.add(OwnMetric.ServersExpected, outcome.servers)
    telemetry.add(OwnMetric.Groups, outcome.groups)
    telemetry.add(OwnMetric.TicksSent, outcome.ticks_sent)
    telemetry.add(OwnMetric.TicksFailed, outcome.ticks_failed)
    telemetry.logger.info(
        "heartbeat sent", groups=outcome.groups, ticks_sent=outcome.ticks_sent, ticks_failed=outcome.ticks_failed
    )
