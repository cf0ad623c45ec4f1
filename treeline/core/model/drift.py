"""Drift: how far the fleet is from what the model was trained on, and whether a new model is due.

Two measures, each in standard deviations of training: how far the mean score is from training, and how far the metrics'
level is. Both are needed: features are standardized against a trailing window, so a fleet on a new level scores as
before after three days, although the model's baselines no longer fit.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from treeline.core.model.drift_rules import DriftRules as DriftRules
from treeline.core.statistics import FloatArray

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# Upper edges of the bins features are counted in; a feature is signed and at most 15 (see features.LARGEST_FEATURE).
FEATURE_EDGES = (-6.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0)
BINS = len(FEATURE_EDGES) + 1
PSI_FLOOR = 1e-4  # share an empty bin counts with; the usual choice, it bounds a bin's contribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a model's training looked like: the other side of every comparison."""

    score_mean: float
    score_sd: float
    features: tuple[tuple[float, ...], ...] = ()  # share of each bin, by feature; empty: not known

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "score_mean": self.score_mean,
            "score_sd": self.score_sd,
            "features": [list(shares) for shares in self.features],
        }


def reference(scores: FloatArray, rows: FloatArray) -> Reference:
    """The reference of a training: its scores (n,) and feature rows (n, features), NaN left out.

    Raises ValueError where no score is finite.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        raise ValueError("no finite score to take a reference from")
    counts = count_features(rows[~np.isnan(rows).any(axis=1)])
    return Reference(
        score_mean=float(known.mean()),
        score_sd=float(known.std()),
        features=tuple(tuple((c / max(c.sum(), 1)).tolist()) for c in counts),
    )


def count_features(rows: FloatArray) -> FloatArray:
    """Rows (n, features) by bin: shape (features, bins), whole numbers."""
    bins = np.searchsorted(np.array(FEATURE_EDGES), np.asarray(rows, dtype=np.float64), side="left")
    counts = [np.bincount(bins[:, i], minlength=BINS) for i in range(bins.shape[1])]
    return np.array(counts, dtype=np.float64)


def stability_index(reference: Sequence[float], current: Sequence[float]) -> float:
    """Population stability index of two distributions over the same bins; 0 is equal, above 0.25 is a shift.

    Each is shares or counts; NaN where either is empty.
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if a.sum() <= 0 or b.sum() <= 0:
        return math.nan
    p, q = np.maximum(a / a.sum(), PSI_FLOOR), np.maximum(b / b.sum(), PSI_FLOOR)
    return float(((q - p) * np.log(q / p)).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One hour's shift, in the model's standard deviations."""

    at: int  # its start, milliseconds
    scores: float
    levels: float = 0.0


MEASURES = ("scores", "levels")  # of an `Hour`


def rolling_shift(hours: Iterable[Hour], measure: str, end: int, rules: DriftRules) -> float:
    """Mean shift of the `rolling_days` before `end`, every hour clipped, a missing hour counted as no shift.

    With the defaults 72 hours of any size come to 3 x 72 / 168 = 1.29, below the threshold: a disturbance of three
    days is no drift, however large. An hour nobody saw is no evidence of drift either.
    """
    start = end - rules.rolling_days * DAY_MS
    clipped = [min(max(getattr(h, measure), -rules.clip), rules.clip) for h in hours if start <= h.at < end]
    return math.fsum(clipped) / (rules.rolling_days * 24)  # the same in whatever order the hours come


class DriftOutcome(StrEnum):
    """What a drift evaluation ends in."""

    STABLE = "stable"
    BREACH = "breach"  # over the threshold, not yet often enough
    BLOCKED_BY_MAINTENANCE = "blocked_by_maintenance"
    COOLING_DOWN = "cooling_down"
    RETRAINING_RUNS = "retraining_runs"
    RETRAIN = "retrain"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvaluation:
    """One day's judgement."""

    at: int
    outcome: DriftOutcome
    shift: float  # the larger measure's rolling shift today, signed
    measure: str  # which one that is
    breaches: int  # consecutive daily evaluations over the threshold, up to today
    # The rolling shifts of each evaluation in the window, oldest first, by measure.
    daily: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time, milliseconds, the end excluded."""

    start: int
    end: int

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it shares any time with [start, end)."""
        return self.start < end and start < self.end


def evaluate(
    hours: Sequence[Hour],
    at: int,
    rules: DriftRules,
    *,
    maintenance: Sequence[Window] = (),
    last_retraining_at: int | None = None,
    is_retraining: bool = False,
) -> DriftEvaluation:
    """Judge the days up to `at`. Every day's value follows from the hours alone, so runs may be missed or repeated.

    Args:
        hours: Hourly shifts of the active model, in any order.
        at: The moment of judgement, milliseconds of event time; the last hour that counts ends by then.
        rules: The rules.
        maintenance: Windows over the whole fleet. Their hours do not count, and while one lies within the rolling
            days no retraining starts: a model must not be fitted on them.
        last_retraining_at: When the last retraining started.
        is_retraining: Whether one is under way, or its model is being promoted.
    """
    counted = [h for h in hours if not any(w.overlaps(h.at, h.at + HOUR_MS) for w in maintenance)]
    days = rules.window_days - rules.rolling_days + 1
    ends = [at - back * DAY_MS for back in reversed(range(days))]
    daily = {name: [rolling_shift(counted, name, end, rules) for end in ends] for name in MEASURES}
    largest = [max(MEASURES, key=lambda name: abs(daily[name][i])) for i in range(days)]
    breaches = 0
    for i in reversed(range(days)):
        if abs(daily[largest[i]][i]) <= rules.threshold:
            break
        breaches += 1
    shift = daily[largest[-1]][-1]
    if breaches == 0:
        outcome = DriftOutcome.STABLE
    elif breaches < rules.consecutive:
        outcome = DriftOutcome.BREACH
    elif any(w.overlaps(at - rules.rolling_days * DAY_MS, at) for w in maintenance):
        outcome = DriftOutcome.BLOCKED_BY_MAINTENANCE
    elif is_retraining:
        outcome = DriftOutcome.RETRAINING_RUNS
    elif last_retraining_at is not None and at - last_retraining_at < rules.cooldown_days * DAY_MS:
        outcome = DriftOutcome.COOLING_DOWN
    else:
        outcome = DriftOutcome.RETRAIN
    return DriftEvaluation(at=at, outcome=outcome, shift=shift, measure=largest[-1], breaches=breaches, daily=daily)


def feature_drift(reference: Reference, counts: FloatArray, names: Sequence[str]) -> Mapping[str, float]:
    """Population stability index of every feature.

    Args:
        reference: The model's training.
        counts: Of the same features now, shape (features, bins).
        names: Of the features, in order.

    Returns:
        The index by name; empty where the training was of other features or other bins, or is not known.
    """
    if np.shape(reference.features) != (len(names), BINS) or counts.shape != (len(names), BINS):
        return {}
    return {name: stability_index(reference.features[i], counts[i].tolist()) for i, name in enumerate(names)}
