import pytest

from tests.unit.ingest_fakes import MemoryTicks
from treeline.app.detect.dispatch import DispatchService, FleetSize
from treeline.app.detect.ticks import TickCause


def heartbeat(ticks: MemoryTicks, servers: int, retired: int = 0):
    return DispatchService(
        servers=lambda: FleetSize(registered=servers, retired=retired),
        ticks=ticks,
        group_size=50,
        second_tick_delay_s=30,
    ).dispatch()


@pytest.mark.parametrize(("servers", "groups"), [(0, 0), (1, 1), (50, 1), (51, 2), (500, 10)])
def test_every_group_gets_a_tick_now_and_one_half_a_minute_later(servers, groups):
    ticks = MemoryTicks()

    outcome = heartbeat(ticks, servers)

    expected = [(group, delay) for delay in (0, 30) for group in range(groups)]
    assert [(t.tick.group, t.delay_s) for t in ticks.sent] == expected
    assert {t.tick.cause for t in ticks.sent} <= {TickCause.HEARTBEAT}
    assert (outcome.groups, outcome.ticks_sent) == (groups, 2 * groups)


def test_what_could_not_be_sent_is_counted():
    ticks = MemoryTicks()
    ticks.failing_groups = {1}

    outcome = heartbeat(ticks, 150)

    assert (outcome.ticks_sent, outcome.ticks_failed) == (4, 2)


def test_retired_servers_are_not_expected_and_their_groups_are_looked_at():
    """A group of retired servers has to be there when one of them comes back."""
    outcome = heartbeat(MemoryTicks(), 100, retired=60)

    assert (outcome.servers, outcome.groups) == (40, 2)
