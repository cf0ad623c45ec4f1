"""The release gate: figures of fixed backtests, held against those recorded in the repository.

A set fails when precision or recall of a tier lies below the recorded figure by more than the stated tolerance. What
is better than recorded passes; `treeline quality --record` writes it down.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.evaluate.bands import BandQuality
from training.evaluate.judge import TierQuality
from training.evaluate.pages import Tier
from treeline.core.errors import UsageError

RECORDED = Path(__file__).with_name("quality.yaml")
JUDGED = ("precision", "recall")
KEPT = ("labels", "hits", "hits_at_onset", "false_pages", "recoveries", "repeats", "in_vain", "precision", "recall")
DIGITS = 4
_HEAD = """# What the shipped defaults reached when last changed. `treeline quality --record` writes this file;
# `make quality` fails where a figure falls below by more than the tolerance.
"""

Evaluations = Mapping[Tier, TierQuality]
Figures = Mapping[str, Mapping[str, Any]]  # tier (or what else is kept of a set) -> name -> value


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """A figure below what is recorded, by more than is tolerated."""

    set_name: str
    tier: str
    figure: str
    reached: float | None
    recorded: float
    tolerance: float

    def __str__(self) -> str:
        """One line."""
        reached = "nothing" if self.reached is None else f"{self.reached:.3f}"
        return (
            f"{self.set_name}, {self.tier}: {self.figure} {reached}, recorded {self.recorded:.3f}, "
            f"tolerance {self.tolerance:.3f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFigures:
    """The recorded figures: set -> tier -> figure, and how far below them is still good."""

    tolerance: Mapping[str, float]
    sets: Mapping[str, Figures]

    @classmethod
    def read(cls, path: Path = RECORDED) -> "RecordedFigures":
        """Read the file; raises UsageError when it is not one."""
        try:
            body = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(tolerance={name: float(body["tolerance"][name]) for name in JUDGED}, sets=dict(body["sets"]))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} holds no recorded figures (tolerance, sets): {error}") from error

    def write(self, path: Path = RECORDED) -> None:
        """Replace the file."""
        body = {"tolerance": dict(self.tolerance), "sets": {name: self.sets[name] for name in sorted(self.sets)}}
        path.write_text(_HEAD + yaml.safe_dump(body, sort_keys=False), encoding="utf-8")

    def with_figures(self, reached: Mapping[str, Figures]) -> "RecordedFigures":
        """These figures in the place of the recorded ones; sets that were not run stay."""
        return RecordedFigures(tolerance=self.tolerance, sets={**self.sets, **reached})

    def shortfalls(self, reached: Mapping[str, Figures]) -> Iterable[Shortfall]:
        """Where the reached figures fall short; a set or figure that is not recorded cannot."""
        for set_name, tiers in reached.items():
            held = self.sets.get(set_name, {})
            for tier, recorded in ((tier.value, held[tier.value]) for tier in Tier if tier.value in held):
                for figure in JUDGED:
                    was, now = recorded.get(figure), tiers[tier][figure]
                    if was is not None and (now is None or now < was - self.tolerance[figure]):
                        yield Shortfall(
                            set_name=set_name,
                            tier=tier,
                            figure=figure,
                            reached=now,
                            recorded=was,
                            tolerance=self.tolerance[figure],
                        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SetQuality:
    """What one set came to, over all its fleets."""

    evaluations: Evaluations
    at_budget: Evaluations  # what is left of them at the page budget (`training.evaluate.page_budget`)
    bands: BandQuality

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: the tiers by name, and beside them the budget, the bands, and each kind of incident."""
        return {
            **figures(self.evaluations),
            "at_page_budget": figures(self.at_budget),
            "bands": self.bands.to_json(),
            "by_kind": {
                kind.name: {"labels": kind.labels, "hits": kind.hits, "delay_p50_s": kind.delay_p50_s}
                for kind in self.evaluations[Tier.ALL].per_kind
            },
        }


def figures(evaluations: Evaluations) -> dict[str, dict[str, Any]]:
    """What is kept of an evaluation, rounded, by tier."""
    kept: dict[str, dict[str, Any]] = {}
    for tier, evaluation in evaluations.items():
        values = {name: getattr(evaluation, name) for name in KEPT}
        kept[tier.value] = {
            name: round(value, DIGITS) if isinstance(value, float) else value for name, value in values.items()
        }
    return kept
