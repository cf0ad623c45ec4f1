"""`treeline quality --ablation`: what the forest, the relation, novelty and the chosen expectations add, set by set."""

from dataclasses import dataclass, field, replace

from training.evaluate.ablation import ablations
from training.evaluate.decide_again import DetectedFleet, Evaluations, pooled_tiers
from training.evaluate.experiment import run_experiment
from training.processes import Progress
from treeline.settings.pipeline import Expecting

SHIPPED = "forest on"
ROLLING = "rolling z-score expected"


@dataclass(slots=True, kw_only=True)
class Ablation:
    """What each variant reached, collected fleet by fleet."""

    fleets: dict[str, dict[str, dict[str, Evaluations]]] = field(default_factory=dict)  # set -> variant -> fleet

    def add(self, set_name: str, name: str, shipped: Evaluations, fleet: DetectedFleet, *, progress: Progress) -> None:
        """Decide one fleet of a set again without each part, and learn and detect it anew by a rolling window alone."""
        of_set = self.fleets.setdefault(set_name, {})
        variants = {SHIPPED: shipped} | ablations(fleet)
        window = replace(fleet.setup, rolling_window_s=Expecting(expectation="rolling").trained_window_s)
        variants[ROLLING] = run_experiment(fleet.history, window, progress=progress)[0].evaluations
        for variant, evaluations in variants.items():
            of_set.setdefault(variant, {})[name] = evaluations

    def results(self) -> dict[str, dict[str, Evaluations]]:
        """Set -> variant -> result over its fleets; what ships first."""
        return {
            set_name: {name: pooled_tiers(fleets) for name, fleets in variants.items()}
            for set_name, variants in self.fleets.items()
        }
