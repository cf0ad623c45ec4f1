"""A day of ten servers to train on and an hour and a half after it, made once for all tests that replay it."""

from dataclasses import replace
from functools import cache

from tests.unit.detection_fakes import fleet, trained
from training.history.grid import Grid
from treeline.core.model.package import ModelPackage

TRAIN, TEST, SERVERS = 1440, 90, 10


@cache
def whole_history() -> Grid:
    """Both parts."""
    return fleet(SERVERS, TRAIN + TEST)


@cache
def trained_package() -> ModelPackage:
    """What the first part taught."""
    whole = whole_history()
    return trained(replace(whole, times_ms=whole.times_ms[:TRAIN], values=whole.values[:TRAIN]))
