"""Whether the groups hold the servers that the stage needs to take off what they do together."""

from cli.doctor.checks import Finding, ok, todo
from stacks.config.stage import StageConfig


def fleet_level(registered: int, stage: StageConfig) -> Finding:
    """Hold `detection.policy.fleet_min_servers` against how many servers the groups have.

    Args:
        registered: Servers that ever registered; groups are filled one after the other.
        stage: The stage's or profile's settings, with `fleet_min_servers` above 0.
    """
    least, size = stage.detection.policy.fleet_min_servers, stage.group_size
    largest, newest = min(registered, size), registered % size
    if not registered:
        return ok("no server has reported yet")
    if largest < least:
        return todo(
            f"fleet_min_servers is {least}, and no group has more than {largest} servers: nothing is taken off",
            f"set detection.policy.fleet_min_servers in config/{stage.stage}.yaml to {largest} or less (0: never)",
        )
    if 0 < newest < least:
        return ok(f"taken off from {least} servers on; not in the newest group, which has {newest}")
    return ok(f"taken off from {least} servers on; every group has as many")
