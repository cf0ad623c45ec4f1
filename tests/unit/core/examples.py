"""What tests of the core share: how many examples property tests try, and where a channel stands."""

from hypothesis import Phase, settings

from treeline.core.channels import registry

# Few, the same every time, however slow the machine. Shrinking a failure of a whole run takes minutes; the failing
# example itself is enough to look at.
FEW = settings(max_examples=20, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))


def position(channel: str) -> int:
    """Where a channel over the metrics stands along the axis of channels."""
    return [one.name for one in registry.CHANNELS].index(channel)
