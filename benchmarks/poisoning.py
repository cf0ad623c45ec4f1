"""Poisoned training: one server spends seven days of its training history at a fault. Is that fault still seen?

`python -m benchmarks.poisoning` trains on the same fleet without the fault, with it and labelled, with it and
unlabelled, and with it and no hygiene at all; then the fault comes again a day later, and its scores are compared with
the first training's. The seven days are the last of the training (the running averages end at the fault) or in its
middle. Scores are the forest's: the mean over the fault's first hour (six rows at least).
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.evaluate.backtest import backtest
from training.history.grid import Grid
from training.history.labels import Label
from training.prepare.calibrating import calibrate_package
from training.prepare.hygiene import Disturbances
from training.prepare.preparation import prepare
from treeline.core.detection.policy import PolicySettings
from treeline.core.model.package import ModelPackage
from treeline.core.times import parse_iso
from treeline.forest.forest import RandomCutForest

METRICS = ("cpu_percent", "memory_percent", "network_mbps", "disk_iops")
START_MS = parse_iso("2026-10-05T00:00:00Z")
DAY_S, FAULT_DAYS = 86_400, 7
VICTIM = 0
MOST_CHANGE = 0.10

Rows = np.ndarray
FAULTS: dict[str, Callable[[Rows, np.random.Generator], None]] = {}


def fault(function: Callable[[Rows, np.random.Generator], None]) -> Callable[[Rows, np.random.Generator], None]:
    FAULTS[function.__name__] = function
    return function


@fault
def cpu_pinned(rows: Rows, rng: np.random.Generator) -> None:
    rows[:, 0] = 97 + rng.normal(0, 0.7, len(rows))


@fault
def memory_full(rows: Rows, rng: np.random.Generator) -> None:
    rows[:, 1] = 95 + rng.normal(0, 0.7, len(rows))


@fault
def traffic_gone(rows: Rows, rng: np.random.Generator) -> None:
    rows[:, 2] *= 0.03
    rows[:, 3] *= 0.05


@fault
def disk_storm(rows: Rows, rng: np.random.Generator) -> None:
    rows[:, 3] += 2500 * np.exp(rng.normal(0, 0.15, len(rows)))
    rows[:, 0] += 12


@fault
def everything(rows: Rows, rng: np.random.Generator) -> None:
    for each in (cpu_pinned, memory_full, disk_storm):
        each(rows, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisoningResult:
    """One fault's score after each training; changes are relative to the training without it."""

    fault: str
    where: str
    clean: float
    labelled: float
    unlabelled: float
    without_hygiene: float

    def change(self, how: str) -> float:
        return float(getattr(self, how)) / self.clean - 1


def fleet(*, servers: int, days: float, step_s: int, seed: int) -> Grid:
    """Servers with daily cycles, weekends, autocorrelated noise and a nightly backup."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(0, round(days * DAY_S), step_s)
    hour = seconds % DAY_S / 3600
    weekend = (seconds // DAY_S) % 7 >= 5
    values = np.empty((len(seconds), servers, len(METRICS)), dtype=np.float32)
    for column in range(servers):
        load = 1 + 0.6 * np.sin((hour - rng.uniform(7, 11)) * np.pi / 12) * np.where(weekend, 0.5, 1.0)
        wander = np.convolve(rng.normal(size=len(seconds) + 30), np.ones(30) / 30**0.5, "valid")[: len(seconds)]
        load = np.maximum(load + 0.08 * wander, 0.05)
        backup = 900.0 * ((hour > 2) & (hour < 2.7))
        metrics = (25 * load, 45 + 6 * load, 40 * load, 200 * load + backup)
        for m, (level, noise) in enumerate(zip(metrics, (2.0, 0.6, 3.0, 25.0), strict=True)):
            values[:, column, m] = np.maximum(level + rng.normal(0, noise, len(seconds)), 0.1)
    names = tuple(f"server-{n:02d}" for n in range(servers))
    return Grid(START_MS + seconds * 1000, names, METRICS, values, float(step_s))


@dataclass(frozen=True, slots=True)
class Trained:
    """A model of a fleet."""

    forest: RandomCutForest
    package: ModelPackage

    @classmethod
    def on(cls, training: Grid, seed: int, hygiene: Disturbances | None = None) -> "Trained":
        prepared = prepare(training, seed=seed, hygiene=hygiene)
        forest = RandomCutForest.fit(prepared.training_rows, num_trees=100, num_samples_per_tree=256, seed=seed)
        package = calibrate_package(
            prepared, forest.score, model_version="poisoning", samples_per_tree=forest.num_samples_per_tree
        )
        return cls(forest, package)

    def score(self, after: Grid, first: int) -> float:
        """The victim's mean score in the first hour (six rows at least) of the fault that begins at row `first`."""
        trace = backtest(self.package, after, self.forest.score, PolicySettings()).trace
        hour = max(6, int(3600 // after.step_s))
        return float(np.nanmean(trace.score[first : first + hour, VICTIM]))


class PoisoningTrial:
    """One fleet and the model trained on it without a fault."""

    def __init__(self, *, servers: int, days: int, step_s: int, seed: int) -> None:
        self.seed = seed
        self.a_day = DAY_S // step_s
        self.cut = days * self.a_day
        self.whole = fleet(servers=servers, days=days + 1.5, step_s=step_s, seed=seed)
        self.training = replace(
            self.whole, times_ms=self.whole.times_ms[: self.cut], values=self.whole.values[: self.cut]
        )
        self.clean = Trained.on(self.training, seed)

    def poison(self, name: str, where: str) -> tuple[Grid, Label]:
        """The training history with seven days of the fault, and their label."""
        start = self.cut - FAULT_DAYS * self.a_day if where == "end" else 9 * self.a_day
        end = start + FAULT_DAYS * self.a_day
        values = self.training.values.copy()
        FAULTS[name](values[start:end, VICTIM], np.random.default_rng([self.seed, 2]))
        times = self.whole.times_ms
        label = Label(
            server_id=self.whole.servers[VICTIM], start_ms=int(times[start]), end_ms=int(times[end - 1]), kind=name
        )
        return replace(self.training, values=values), label

    def run(self, name: str, where: str, *, without_hygiene: bool = True) -> PoisoningResult:
        """All trainings of one fault."""
        times, values = self.whole.times_ms[self.cut :], self.whole.values[self.cut :].copy()
        FAULTS[name](values[self.a_day :, VICTIM], np.random.default_rng([self.seed, 1]))
        after = replace(self.whole, times_ms=times, values=values)
        poisoned, label = self.poison(name, where)

        def retrained(hygiene: Disturbances | None) -> float:
            return Trained.on(poisoned, self.seed, hygiene).score(after, self.a_day)

        return PoisoningResult(
            fault=name,
            where=where,
            clean=self.clean.score(after, self.a_day),
            labelled=retrained(Disturbances(labels=[label])),
            unlabelled=retrained(Disturbances()),
            without_hygiene=retrained(None) if without_hygiene else float("nan"),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the changes; exit code 1 if one with hygiene exceeds 10 %."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poisoning", description=__doc__)
    parser.add_argument("--servers", type=int, default=6)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--step", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    trial = PoisoningTrial(servers=asked.servers, days=asked.days, step_s=asked.step, seed=asked.seed)
    results = []
    for name in FAULTS:
        for where in ("end", "middle"):
            print(f"training with {name} at the {where}", file=sys.stderr)
            results.append(trial.run(name, where))
    worst = max(abs(r.change(how)) for r in results for how in ("labelled", "unlabelled"))
    hows = ("labelled", "unlabelled", "without_hygiene")
    rows = [
        {"fault": r.fault, "where": r.where, "clean": r.clean, **{how: r.change(how) for how in hows}} for r in results
    ]
    print(json.dumps({"settings": vars(asked), "results": rows, "worst_with_hygiene": worst}, indent=1))
    return 0 if worst < MOST_CHANGE else 1


if __name__ == "__main__":
    sys.exit(main())
