"""The last ten together, against the last three days."""

from treeline.core.arrays import Rows
from treeline.core.channels.channel import MetricChannel, State, View, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray, mean_of_last


class Mean10(MetricChannel):
    """The mean of the last ten values against the trailing three days."""

    name = "mean10"
    title = "mean of ten"
    meaning = "the metrics' last ten values together are far from the last three days"
    view = "the mean of the last ten values, against its trailing three days in their standard deviations, cut at 10"
    can_be_gated = True
    floors = Thresholds(p2=6.5, p1=7.5)

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """Mean of the three largest; the forest's features have sorted this view already."""
        return mean_of_last(views.ordered[:, View.MEAN10])
