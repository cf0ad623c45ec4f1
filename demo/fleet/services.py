"""Which service a server carries, and in which zone it stands."""

from demo.fleet.plan import FleetPlan
from demo.fleet.roles import BATCH, PATTERN, role_of

ZONES = ("a", "b", "c")


def service_of(server: int) -> int:
    """The service of the fleet's server number `server`: ten neighbours, which hold every role, carry one."""
    return server // len(PATTERN)


def service_name(service: int) -> str:
    """Such as `service-001`."""
    return f"service-{service + 1:03d}"


def service_count(plan: FleetPlan) -> int:
    """How many services the fleet carries; the last may have fewer servers."""
    return service_of(plan.servers - 1) + 1


def members(plan: FleetPlan, service: int) -> range:
    """The servers that carry a service."""
    first = service * len(PATTERN)
    return range(first, min(first + len(PATTERN), plan.servers))


def zone_of(server: int) -> str:
    """A service's servers of one role stand in different zones."""
    place = server % len(PATTERN)
    same_role_before = sum(role is PATTERN[place] for role in PATTERN[:place])
    return ZONES[(same_role_before + service_of(server)) % len(ZONES)]


def is_serving(server: int) -> bool:
    """Whether users' requests pass through it; batch servers work behind them."""
    return role_of(server) is not BATCH


def request_share(plan: FleetPlan, server: int) -> float:
    """Which share of its service's requests a server handles: its role's requests, spread evenly; 0 for batch."""
    if not is_serving(server):
        return 0.0
    return 1.0 / sum(role_of(other) is role_of(server) for other in members(plan, service_of(server)))
