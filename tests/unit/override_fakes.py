"""Overrides for tests."""

from dataclasses import replace

from training.evaluate.calibrate import raised
from treeline.app.detect.override import Override
from treeline.core.detection.calibration import Calibration

ENTRY = Override(id="o1", model_version="m1", source="a test", reason="too many pages", by="ann", created_ms=5)


def blind(calibration: Calibration) -> Calibration:
    """Thresholds that what was severity 25 just reaches: nothing of a test does."""
    return raised(calibration, p2=25.0, p1=29.0)


def blinding(calibration: Calibration, **changes: object) -> Override:
    """An override of model m1 under which nothing opens."""
    return replace(ENTRY, calibration=blind(calibration).to_json(), **changes)
