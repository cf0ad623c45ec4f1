"""Try settings: score each by how well it keeps a page budget on unlabelled history, and by F0.5 where labels exist.

The train part is cut in two: a trial is fitted on the first two thirds, and the pages it opens in the last third are
held against the budget. With labels it is also judged on the test part, fitted on the whole train part.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from typing import Any

from training.evaluate.backtest import backtest
from training.evaluate.budget import Budget
from training.evaluate.experiment import Setup, groups_of, grow_forest, judge, openings, split_grids, with_thresholds_of
from training.evaluate.pages import Opening, Tier, page_count
from training.history.files import History
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import Prepared, prepare
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage
from treeline.forest.forest import RandomCutForest

FIT_SHARE = 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One choice of every parameter that is searched."""

    num_trees: int = 50
    num_samples_per_tree: int = 512
    needed: int = 2
    of_last: int = 3
    threshold_factor: float = 1.0

    def over(self, setup: Setup) -> Setup:
        """The setup with what is searched as the trial has it."""
        return replace(
            setup,
            policy=replace(setup.policy, needed=self.needed, of_last=self.of_last),
            num_trees=self.num_trees,
            num_samples_per_tree=self.num_samples_per_tree,
            threshold_factor=self.threshold_factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The values a search may choose; trees and samples within what SageMaker's algorithm takes."""

    num_trees: tuple[int, ...] = (50, 100, 200, 400, 1000)
    num_samples_per_tree: tuple[int, ...] = (128, 256, 512, 1024)
    persistence: tuple[tuple[int, int], ...] = ((1, 1), (2, 2), (2, 3), (3, 4), (3, 5))
    threshold_factor: tuple[float, ...] = (0.7, 0.85, 1.0, 1.2, 1.5)

    def grid(self, trials: int) -> Iterator[Trial]:
        """Every combination, or as many of them evenly spread; the shipped one first."""
        shipped = Trial()
        every = [
            trial
            for n, s, (m, k), f in product(
                self.num_trees, self.num_samples_per_tree, self.persistence, self.threshold_factor
            )
            if (trial := Trial(num_trees=n, num_samples_per_tree=s, needed=m, of_last=k, threshold_factor=f)) != shipped
        ]
        yield shipped
        wanted = min(trials - 1, len(every))
        # A stride that shares no factor with any side visits all values of each parameter early.
        stride = next(s for s in range(int(len(every) * 0.618) or 1, len(every) + 2) if math.gcd(s, len(every)) == 1)
        for i in range(wanted):
            yield every[i * stride % len(every)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A trial and what came of it.

    Attributes:
        trial: The choice.
        pages_per_server_week: On the held-out, unlabelled history, by tier.
        adherence: 1 on the budget, falling with the ratio to it either way, in (0, 1].
        f05, f1, precision, recall: On the test part, P1 and P2 together; None without labels.
        score: What is searched for: adherence, or its mean with F0.5.
    """

    trial: Trial
    pages_per_server_week: Mapping[str, float]
    adherence: float
    rolling_window_s: float = 0.0  # that all was expected by; 0: each series by what training chose for it
    f05: float | None = None
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    score: float = field(init=False)

    def __post_init__(self) -> None:
        """Combine the parts."""
        object.__setattr__(self, "score", self.adherence if self.f05 is None else (self.adherence + self.f05) / 2)

    def metrics(self) -> dict[str, float]:
        """Every figure there is, by name."""
        named = {
            "score": self.score,
            "adherence": self.adherence,
            "f05": self.f05,
            "f1": self.f1,
            "precision": self.precision,
            "recall": self.recall,
            "pages_per_server_week_p1": self.pages_per_server_week[Tier.P1.value],
            "pages_per_server_week": self.pages_per_server_week[Tier.ALL.value],
        }
        return {name: value for name, value in named.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Scored":
        """Read what `to_json` wrote; raises TypeError or KeyError for anything else."""
        known = {spec.name for spec in fields(cls) if spec.init} & set(body)
        return cls(**{name: body[name] for name in known} | {"trial": Trial(**body["trial"])})


def held_out_pages(opened: Iterable[Opening], grid: Grid) -> dict[str, int]:
    """How many pages openings on a stretch of history make, by tier, as the judge counts them."""
    listed, step_ms = list(opened), round(grid.step_s * 1000)
    return {tier.value: page_count(listed, tier, servers=len(grid.servers), step_ms=step_ms) for tier in Tier}


def adherence(pages_by_tier: Mapping[str, int], budget: Budget, server_days: float) -> float:
    """How close the pages are to the budget: exp(-|ln(pages / budget)|), the mean of the tiers.

    Half a page is added on both sides, so that no page in a short history is not infinitely far from the budget.
    """
    far = []
    for tier, a_day in ((Tier.P1, budget.p1), (Tier.ALL, budget.p1 + budget.p2)):
        sent, allowed = pages_by_tier[tier.value], a_day * server_days
        far.append(abs(math.log((sent + 0.5) / (allowed + 0.5))))
    return math.exp(-sum(far) / len(far))


class Tuner:
    """Runs trials over one history; what trials share (features, forests) is computed once.

    Args:
        history: To search on.
        budget: Pages allowed.
        setup: What is not searched: the rest of the policy, time zone, what is expected, seeds.
    """

    def __init__(self, history: History, budget: Budget, *, setup: Setup | None = None) -> None:
        setup = setup or Setup()
        past, present = split_grids(history, setup.timezone)
        cut = int(len(past.times_ms) * FIT_SHARE)
        self._history, self._budget, self._setup = history, budget, setup
        self._fitted, self._held_out = _part(past, slice(cut)), _part(past, slice(cut, None))
        if len(self._held_out.times_ms) < 2:
            raise UsageError(f"{history.path}: the train part is too short to hold a third of it out")
        self._past, self._present = past, present
        self._prepared: dict[str, Prepared] = {}
        self._models: dict[tuple[str, int, int], tuple[ModelPackage, RandomCutForest]] = {}

    def run(self, trial: Trial) -> Scored:
        """Score one trial.

        Raises:
            UsageError: The history is too short for the forest asked for.
        """
        setup = trial.over(self._setup)
        package, forest = self._model("held out", self._fitted, trial, setup)
        done = backtest(package, self._held_out, forest.score, setup.policy, groups=groups_of(self._held_out))
        pages = held_out_pages(openings(done.changes), self._held_out)
        days = sum(times.days for times in self._held_out.observed().values())
        scored = Scored(
            trial=trial,
            pages_per_server_week={tier: 7 * count / days for tier, count in pages.items()},
            adherence=adherence(pages, self._budget, days),
            rolling_window_s=package.rolling_window_s,
        )
        if not self._history.incidents:
            return scored
        package, forest = self._model("test", self._past, trial, setup)
        detected = backtest(package, self._present, forest.score, setup.policy, groups=groups_of(self._present))
        judged = judge("trial", self._history, self._present, detected).evaluations[Tier.ALL]
        return replace(
            scored, f05=judged.f05 or 0.0, f1=judged.f1 or 0.0, precision=judged.precision, recall=judged.recall
        )

    def _model(self, name: str, past: Grid, trial: Trial, setup: Setup) -> tuple[ModelPackage, RandomCutForest]:
        key = (name, trial.num_trees, trial.num_samples_per_tree)
        if key not in self._models:
            if name not in self._prepared:
                self._prepared[name] = prepare(past, seed=setup.seed, rolling_window_s=setup.rolling_window_s)
            shared = self._prepared[name]
            forest = grow_forest(shared.training_rows, setup)
            own = replace(shared, state=shared.state.copy())  # calibrating writes into it
            package = calibrate_package(
                own, forest.score, model_version="trial", samples_per_tree=forest.num_samples_per_tree
            )
            self._models[key] = package, forest
        package, forest = self._models[key]
        return with_thresholds_of(setup, package), forest


def _part(grid: Grid, times: slice) -> Grid:
    return replace(grid, times_ms=grid.times_ms[times], values=grid.values[times])


def frontier(results: Iterable[Scored]) -> list[Scored]:
    """Those that no other beats in both fewer pages and better quality, by pages."""
    best: list[Scored] = []
    ordered = sorted(results, key=lambda r: (r.pages_per_server_week[Tier.ALL.value], -quality(r)))
    for result in ordered:
        if not best or quality(result) > quality(best[-1]):
            best.append(result)
    return best


def quality(result: Scored) -> float:
    """What stands against pages: F0.5 where there are labels, else adherence."""
    return result.adherence if result.f05 is None else result.f05


def best_of(results: Iterable[Scored]) -> Scored:
    """The highest score; of equals the one with the smaller forest."""
    return max(results, key=lambda r: (r.score, -r.trial.num_trees * r.trial.num_samples_per_tree))
