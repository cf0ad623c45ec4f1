"""`treeline quality --ablation`: what the forest, the relation, novelty and the chosen expectations add, set by set."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from training.evaluate.ablation import ablations
from training.evaluate.experiment import ExperimentOutcome, Setup, run_experiment
from training.evaluate.judge import TierQuality, pooled
from training.evaluate.pages import Tier
from training.history.files import History
from training.processes import Progress
from treeline.core.model.package import ModelPackage
from treeline.settings.pipeline import Expecting

SHIPPED = "forest on"
ROLLING = "rolling z-score expected"
Evaluations = Mapping[Tier, TierQuality]


@dataclass(slots=True, kw_only=True)
class Ablation:
    """What each variant reached, collected fleet by fleet."""

    setup: Setup
    fleets: dict[str, dict[str, dict[str, Evaluations]]] = field(default_factory=dict)  # set -> variant -> fleet

    def add(
        self,
        set_name: str,
        fleet: str,
        history: History,
        ours: ExperimentOutcome,
        package: ModelPackage,
        *,
        progress: Progress,
    ) -> None:
        """Decide one fleet of a set again without each part, and learn and detect it anew by a rolling window alone."""
        of_set = self.fleets.setdefault(set_name, {})
        variants = {SHIPPED: ours.evaluations} | ablations(package, history, ours.grid, ours.backtest, self.setup)
        window = replace(self.setup, rolling_window_s=Expecting(expectation="rolling").trained_window_s)
        variants[ROLLING] = run_experiment(history, window, progress=progress)[0].evaluations
        for name, evaluations in variants.items():
            of_set.setdefault(name, {})[fleet] = evaluations

    def results(self) -> dict[str, dict[str, Evaluations]]:
        """Set -> variant -> result over its fleets; what ships first."""
        return {
            set_name: {
                name: {tier: pooled({fleet: e[tier] for fleet, e in fleets.items()}) for tier in Tier}
                for name, fleets in variants.items()
            }
            for set_name, variants in self.fleets.items()
        }
