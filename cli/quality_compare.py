"""`treeline quality --compare`: ours beside every peer, set by set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cli.peers import judged_peers
from training.evaluate.experiment import ExperimentOutcome, Setup
from training.evaluate.judge import TierQuality, pooled
from training.evaluate.pages import Tier
from training.evaluate.peers.catalogue import entry
from training.evaluate.peers.rules import Rule
from training.history.files import History
from training.history.grid import Grid
from training.processes import Progress

Evaluations = Mapping[Tier, TierQuality]


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What each detector reached, collected fleet by fleet.

    Attributes:
        names: The peers to run; none where nothing is compared.
        setup: Of our detector; peers are calibrated by it too.
        fleets: Set -> detector -> fleet -> result.
        notes: Set -> what to know about its rows, a line each.
    """

    names: Sequence[str]
    setup: Setup
    fleets: dict[str, dict[str, dict[str, Evaluations]]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self,
        set_name: str,
        fleet: str,
        history: History,
        past: Grid,
        ours: ExperimentOutcome,
        *,
        note: Callable[[str], None],
        progress: Progress,
    ) -> None:
        """Run the peers on one fleet of a set; the slow ones on the set's first fleet only."""
        if not self.names:
            return
        peers = [entry(name) for name in self.names]
        rules = [peer for peer in peers if isinstance(peer, Rule)]
        slow = [peer.name for peer in peers if not isinstance(peer, Rule) and peer.is_slow]
        of_set = self.fleets.setdefault(set_name, {})
        if not of_set:
            self.notes[set_name] = [f"{rule.name}: {rule.says(ours.grid)}" for rule in rules]
        elif slow and len(of_set[ours.name]) == 1:
            only = (
                f"{', '.join(slow)}: the first fleet alone ({', '.join(of_set[ours.name])}), as they take minutes each"
            )
            self.notes[set_name].append(only)
        names = [peer.name for peer in peers if not of_set or peer.name not in slow]
        of_set.setdefault(ours.name, {})[fleet] = ours.evaluations
        for outcome in judged_peers(names, history, past, ours.grid, self.setup, note=note, progress=progress):
            of_set.setdefault(outcome.name, {})[fleet] = outcome.evaluations

    def results(self) -> dict[str, dict[str, Evaluations]]:
        """Set -> detector -> result over all its fleets; ours first, then by F1 of P1 and P2 together."""
        return {set_name: _ranked(detectors) for set_name, detectors in self.fleets.items()}


def _ranked(detectors: Mapping[str, Mapping[str, Evaluations]]) -> dict[str, Evaluations]:
    ours = next(iter(detectors))
    results = {
        name: {tier: pooled({fleet: e[tier] for fleet, e in fleets.items()}) for tier in Tier}
        for name, fleets in detectors.items()
    }
    order = sorted(results, key=lambda name: (name != ours, -(results[name][Tier.ALL].f1 or 0.0), name))
    return {name: results[name] for name in order}
