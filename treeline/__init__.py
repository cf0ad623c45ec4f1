"""Treeline: fleet-wide server anomaly detection inside its owner's AWS account.

For programs of one's own: `Detector`, `Decision`, `Metric`, `Observation`, `PolicySettings` and `Status` (docs/api.md).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treeline.api import Decision, Detector, Metric, Observation, PolicySettings, Status

__version__ = "0.1.0"
__all__ = ["Decision", "Detector", "Metric", "Observation", "PolicySettings", "Status", "__version__"]


def __getattr__(name: str) -> object:
    """The API on demand: most functions import `treeline` and have no numpy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from treeline import api

    return getattr(api, name)
