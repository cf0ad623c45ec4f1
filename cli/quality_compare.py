"""`treeline quality --compare`: ours beside every peer, set by set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cli.peers import judged_peers, rule_notes
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
        """Run the peers on one fleet of a set: rules on each, detectors, which take minutes, on its first alone."""
        if not self.names:
            return
        rules = [name for name in self.names if isinstance(entry(name), Rule)]
        of_set = self.fleets.setdefault(set_name, {})
        if not of_set:
            self.notes[set_name] = rule_notes(self.names, ours.grid)
        elif len(rules) < len(self.names) and len(of_set[ours.name]) == 1:
            first = next(iter(of_set[ours.name]))
            self.notes[set_name].append(f"({first}): on that fleet alone, as a detector takes a minute or more a fleet")
        names = rules if of_set else self.names
        of_set.setdefault(ours.name, {})[fleet] = ours.evaluations
        for outcome in judged_peers(names, history, past, ours.grid, self.setup, note=note, progress=progress):
            of_set.setdefault(outcome.name, {})[fleet] = outcome.evaluations

    def results(self) -> dict[str, dict[str, Evaluations]]:
        """Set -> detector -> result over its fleets; ours first, then by F1 of P1 and P2 together."""
        return {set_name: _ranked(detectors) for set_name, detectors in self.fleets.items()}


def _ranked(detectors: Mapping[str, Mapping[str, Evaluations]]) -> dict[str, Evaluations]:
    """Detectors that ran on the first of several fleets say so, and ours is shown on it alone too."""
    ours, fleets = next(iter(detectors.items()))
    first = next(iter(fleets))
    results = {ours: _pooled(fleets)}
    if any(len(each) < len(fleets) for each in detectors.values()):
        results[_on(ours, first)] = fleets[first]
    peers = {
        name if len(each) == len(fleets) else _on(name, first): _pooled(each)
        for name, each in detectors.items()
        if name != ours
    }
    order = sorted(peers, key=lambda name: (-(peers[name][Tier.ALL].f1 or 0.0), name))
    return results | {name: peers[name] for name in order}


def _on(name: str, fleet: str) -> str:
    return f"{name} ({fleet})"


def _pooled(fleets: Mapping[str, Evaluations]) -> Evaluations:
    return {tier: pooled({fleet: e[tier] for fleet, e in fleets.items()}) for tier in Tier}
