"""Not what the other metrics imply."""

import numpy as np

from treeline.core.arrays import Rows
from treeline.core.channels.channel import MetricChannel, Rarity, State, Views
from treeline.core.severity import Thresholds
from treeline.core.statistics import FloatArray

LIMIT = 15.0


class Relation(MetricChannel):
    """The metrics against what they imply for each other."""

    name = "relation"
    title = "relation"
    meaning = "the metrics do not fit each other as they did in training"
    view = (
        "the mean of the last ten distances from what the other metrics imply, in its own standard deviations of "
        "training, cut at 15"
    )
    aggregate = "root mean square over the metrics"
    floors = Thresholds(p2=1e-3, p1=2e-3)
    rarity = Rarity(p2=1.85, p1=2.0)
    p2_pages = None
    is_model_evidence = True
    is_standardized = True

    def magnitude(self, state: State, at: Rows, views: Views) -> FloatArray:
        """Root mean square of the sustained deviations."""
        bounded = np.minimum(np.abs(views.sustained), LIMIT)
        magnitude: FloatArray = np.sqrt(np.square(bounded).mean(axis=1))
        return magnitude
