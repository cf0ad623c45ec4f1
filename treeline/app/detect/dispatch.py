"""Dispatch: the heartbeat that has every group scored twice a minute, whatever else happens."""

from dataclasses import dataclass
from typing import Protocol

from treeline.app.detect.ticks import DelayedTick, Tick, TickCause, TickQueue
from treeline.app.metrics import OwnMetric
from treeline.app.telemetry import Telemetry


class ServerCount(Protocol):
    """How many servers have a number."""

    def server_count(self) -> int:
        """The next number to give, which is the count, as numbers have no gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOutcome:
    """What one heartbeat did; a failed tick is made up by the next heartbeat, half a minute later."""

    servers: int
    groups: int
    ticks_sent: int
    ticks_failed: int


class DispatchService:
    """Sends each group one tick for now and one for `second_tick_delay_s` later.

    A schedule cannot run more often than every minute, hence the second tick with its delay.
    """

    def __init__(self, *, servers: ServerCount, ticks: TickQueue, group_size: int, second_tick_delay_s: int) -> None:
        self._servers = servers
        self._ticks = ticks
        self._group_size = group_size
        self._delays = (0, second_tick_delay_s)

    def dispatch(self) -> DispatchOutcome:
        """Send the ticks of one heartbeat; with no server yet there is nothing to send."""
        servers = self._servers.server_count()
        groups = -(-servers // self._group_size)
        ticks = [
            DelayedTick(tick=Tick(group=group, since_ms=None, cause=TickCause.HEARTBEAT), delay_s=delay_s)
            for delay_s in self._delays
            for group in range(groups)
        ]
        failed = len(self._ticks.send(ticks)) if ticks else 0
        return DispatchOutcome(servers=servers, groups=groups, ticks_sent=len(ticks) - failed, ticks_failed=failed)


def report(telemetry: Telemetry, outcome: DispatchOutcome) -> None:
    """Write what one heartbeat did."""
    telemetry.add(OwnMetric.ServersExpected, outcome.servers)
    telemetry.add(OwnMetric.Groups, outcome.groups)
    telemetry.add(OwnMetric.TicksSent, outcome.ticks_sent)
    telemetry.add(OwnMetric.TicksFailed, outcome.ticks_failed)
    telemetry.logger.info(
        "heartbeat sent", groups=outcome.groups, ticks_sent=outcome.ticks_sent, ticks_failed=outcome.ticks_failed
    )
