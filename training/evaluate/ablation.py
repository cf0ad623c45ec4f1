"""What each part of detection adds: what one backtest measured, decided again without a part."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from training.evaluate.decide_again import DetectedFleet, Evaluations
from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibration
from treeline.core.severity import Thresholds

OFF = Thresholds(p2=1e6, p1=2e6)  # of a channel that is not to say anything
RELATION = "relation"


def only(calibration: Calibration, *names: str) -> Calibration:
    """All channels off but these."""
    return replace(calibration, thresholds={n: k if n in names else OFF for n, k in calibration.thresholds.items()})


def without_novelty(calibration: Calibration) -> Calibration:
    """No channel asks for anything new."""
    return calibration.moved(lambda k: replace(k, decade=None))


VARIANTS: Mapping[str, Callable[[Calibration], Calibration]] = {
    "forest alone": lambda c: only(c, registry.SCORE.name),
    "forest off": lambda c: only(c, *(set(c.thresholds) - {registry.SCORE.name})),
    "relation alone": lambda c: only(c, RELATION),
    "without novelty": without_novelty,
}


def ablations(fleet: DetectedFleet) -> dict[str, Evaluations]:
    """Each variant's result."""
    shipped = fleet.package.calibration
    return {name: fleet.judged(change(shipped)) for name, change in VARIANTS.items()}
