"""Which channels there are, in order. A new channel is a module beside this one, and an entry here."""

from treeline.core.channels.channel import Channel, MetricChannel
from treeline.core.channels.day import Day
from treeline.core.channels.difference import Difference
from treeline.core.channels.mean10 import Mean10
from treeline.core.channels.relation import Relation
from treeline.core.channels.saturation import Saturation
from treeline.core.channels.score import Score
from treeline.core.channels.tail import Tail

SCORE = Score()
# Read it as `registry.CHANNELS`, at the time of use: a test puts another tuple in its place.
CHANNELS: tuple[MetricChannel, ...] = (Day(), Tail(), Mean10(), Difference(), Relation(), Saturation())


def every_channel() -> tuple[Channel, ...]:
    """The score's, then those over the metrics: the order in which measures and severities stand side by side."""
    return (SCORE, *CHANNELS)
