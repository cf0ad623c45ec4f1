"""The daily drift check: does the active model still fit the fleet, or should the next one be trained?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from treeline.app.alert.controls import Control
from treeline.app.detect.override import Override
from treeline.app.learn.rollup import Rollup, Rollups, reference_of
from treeline.app.learn.training_runs import TrainingPipeline, start_training
from treeline.app.metrics import OwnMetric
from treeline.app.promote.ports import Announcer
from treeline.app.promote.progress import Progress
from treeline.app.telemetry import Telemetry
from treeline.core.model.drift import (
    BINS,
    DAY_MS,
    DriftEvaluation,
    DriftOutcome,
    DriftRules,
    Hour,
    Reference,
    Window,
    evaluate,
    feature_drift,
)
from treeline.core.model.package import ModelPackage
from treeline.core.times import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """The last retraining that drift asked for; `at` is event time, milliseconds."""

    at: int
    run_id: str = ""


class Retrainings(Protocol):
    """Remembers the last retraining, and keeps two evaluations from starting one each."""

    def last(self) -> Retraining | None:
        """The last one; None before the first."""

    def claim(self, at: int, before: Retraining | None) -> bool:
        """Enter one at `at`, if the last still is `before`; whether that was so."""

    def started(self, at: int, run_id: str) -> None:
        """Note which run it became."""

    def withdraw(self, at: int, before: Retraining | None) -> None:
        """Take a claim back whose run could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """An evaluation with what is reported beside it."""

    model_version: str
    evaluation: DriftEvaluation
    # Population stability index by feature, over the rolling days; above 0.25 is a shift.
    features: dict[str, float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)  # by metric, the rolling days' mean level shift
    hours: int = 0  # hours of data in the evaluation window
    run_id: str = ""  # the retraining that was started, if one was

    def to_json(self) -> dict[str, Any]:
        """What the function answers."""
        return {
            "outcome": self.evaluation.outcome.value,
            "shift": self.evaluation.shift,
            "measure": self.evaluation.measure,
            "breaches": self.evaluation.breaches,
            "hours": self.hours,
            "run_id": self.run_id,
            "features": self.features,
            "levels": self.levels,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftService:
    """Evaluates, reports, and starts at most one retraining."""

    rollups: Rollups
    package: Callable[[], ModelPackage | None]
    maintenance: Callable[[], Sequence[Control]]
    retrainings: Retrainings
    pipeline: TrainingPipeline
    promotion: Callable[[], Progress | None]
    announcer: Announcer
    rules: DriftRules
    override: Callable[[], Override | None] = lambda: None  # as it came with the last read of the active model

    def run(self, now_ms: int) -> DriftReport | None:
        """Judge the days up to `now_ms` (event time); None before the first model."""
        package = self.package()
        if package is None:
            return None
        start = now_ms - self.rules.window_days * DAY_MS
        rollups = self.rollups.read(package.model_version, start, now_ms)
        reference = reference_of(package)
        last = self.retrainings.last()
        progress = self.promotion()
        is_retraining = bool(self.pipeline.active()) or (progress is not None and not progress.is_over)
        evaluation = evaluate(
            hours_of(rollups, reference),
            now_ms,
            self.rules,
            maintenance=[Window(start=w.starts_ms, end=w.until_ms) for w in self.maintenance() if w.scope.fleet],
            last_retraining_at=None if last is None else last.at,
            is_retraining=is_retraining,
        )
        run_id = ""
        if evaluation.outcome is DriftOutcome.RETRAIN:
            run_id = self._retrain(evaluation, last, package.model_version)
        recent = [r for r in rollups if r.hour >= now_ms - self.rules.rolling_days * DAY_MS]
        report = DriftReport(
            model_version=package.model_version,
            evaluation=evaluation,
            features=_feature_drift(reference, recent, package.features),
            levels=_mean_levels(recent),
            hours=len(rollups),
            run_id=run_id,
        )
        if evaluation.outcome is not DriftOutcome.STABLE:
            self._tell(report)
        return report

    def _retrain(self, evaluation: DriftEvaluation, last: Retraining | None, model_version: str) -> str:
        """Start one; empty where somebody else was first."""
        if not self.retrainings.claim(evaluation.at, last):
            return ""
        reason = f"drift of {model_version}: {evaluation.measure} at {evaluation.shift:+.2f} sd"
        try:
            started = start_training(
                self.pipeline,
                reason=reason,
                window_end_ms=evaluation.at,
                request_id=f"drift-{iso(evaluation.at)}",
                override=self.override(),
            )
        except Exception:
            self.retrainings.withdraw(evaluation.at, last)
            raise
        self.retrainings.started(evaluation.at, started.run_id)
        return started.run_id

    def _tell(self, report: DriftReport) -> None:
        evaluation = report.evaluation
        step = "retraining" if report.run_id else "drift"
        largest = dict(sorted(report.features.items(), key=lambda item: -item[1])[:3])
        self.announcer.tell(
            step,
            f"Model {report.model_version} drifts: {evaluation.measure} {evaluation.shift:+.2f} sd, "
            f"{evaluation.breaches} days over {self.rules.threshold} ({evaluation.outcome.value})",
            {
                "model_version": report.model_version,
                "evaluated_at": iso(evaluation.at),
                "outcome": evaluation.outcome.value,
                "shift_sd": round(evaluation.shift, 3),
                "measure": evaluation.measure,
                "breaches": evaluation.breaches,
                "feature_psi": {name: round(value, 3) for name, value in largest.items()},
                "levels_sd": {name: round(value, 3) for name, value in report.levels.items()},
                "run_id": report.run_id,
                "runbook_url": "docs/runbooks/model-drift.md",
            },
        )


def hours_of(rollups: Sequence[Rollup], reference: Reference) -> list[Hour]:
    """Each hour's shift in the model's standard deviations."""
    sd = max(reference.score_sd, 1e-9)
    return [
        Hour(at=r.hour, scores=(r.mean - reference.score_mean) / sd, levels=max(r.levels.values(), default=0.0))
        for r in rollups
        if r.count
    ]


def _feature_drift(reference: Reference, rollups: Sequence[Rollup], names: Sequence[str]) -> dict[str, float]:
    """Of the hours that were counted in today's features and bins; others are left out."""
    counted = [r.features for r in rollups if r.features.shape == (len(names), BINS)]
    return dict(feature_drift(reference, np.sum(counted, axis=0), names)) if counted else {}


def _mean_levels(rollups: Sequence[Rollup]) -> dict[str, float]:
    names = sorted({name for r in rollups for name in r.levels})
    return {name: float(np.mean([r.levels[name] for r in rollups if name in r.levels])) for name in names}


def report(telemetry: Telemetry, drift: DriftReport) -> None:
    """Write the day's measures, and what came of them."""
    evaluation = drift.evaluation
    today = {name: values[-1] for name, values in evaluation.daily.items()}
    is_blocked = evaluation.outcome is DriftOutcome.BLOCKED_BY_MAINTENANCE
    telemetry.add(OwnMetric.ScoreDrift, abs(today["scores"]))
    telemetry.add(OwnMetric.LevelDrift, abs(today["levels"]))
    telemetry.add(OwnMetric.LargestFeatureDrift, max(drift.features.values(), default=0.0))
    telemetry.add(OwnMetric.DriftBreaches, evaluation.breaches)
    telemetry.add(OwnMetric.RetrainingsStarted, 1 if drift.run_id else 0)
    telemetry.add(OwnMetric.RetrainingsBlocked, 1 if is_blocked else 0)
    telemetry.logger.info(
        "drift evaluated",
        model_version=drift.model_version,
        outcome=evaluation.outcome.value,
        shift_sd=evaluation.shift,
        measure=evaluation.measure,
        breaches=evaluation.breaches,
        feature_psi=drift.features,
        levels_sd=drift.levels,
        hours=drift.hours,
        run_id=drift.run_id,
    )
