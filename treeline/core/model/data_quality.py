"""Data quality: statistics of the training data, constraints on what comes in, and the check against both.

Both are JSON in the form of SageMaker Model Monitor's baseline (`statistics.json`, `constraints.json`, violations by
name of check), so that its tools read them; they are computed and checked here, with numpy alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.errors import ModelMismatchError
from treeline.core.model.drift import stability_index
from treeline.core.statistics import FloatArray, within_reach

VERSION = 0.0  # Model Monitor's own, of both documents
BINS = 10
PSI_LIMIT = 0.25
COMPLETENESS_SLACK = 0.01
RANGE_MARGIN = 0.10  # of the training range, beyond it on either side
OUTSIDE_SHARE = 0.001  # of the values may lie outside the range
FEWEST_VALUES = 200  # fewer say nothing about a distribution


class Violated(StrEnum):
    """What was violated; the first three are Model Monitor's names."""

    COMPLETENESS = "completeness_check"
    DRIFT = "baseline_drift_check"
    MISSING_COLUMN = "missing_column_check"
    RANGE = "range_check"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStatistics:
    """One column: how many values, what they are like, and how they are distributed."""

    name: str
    present: int
    missing: int
    mean: float
    sd: float
    minimum: float
    maximum: float
    # Of the bins, (bins + 1,), the outer two infinite; quantiles, so that the baseline's bins are equal.
    edges: FloatArray
    counts: FloatArray  # values in each bin, (bins,)

    @property
    def completeness(self) -> float:
        """Share of the rows that have it; 1 for no rows."""
        rows = self.present + self.missing
        return self.present / rows if rows else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """What a column must satisfy."""

    name: str
    completeness: float  # least share of rows that have it
    minimum: float  # all values but `OUTSIDE_SHARE` of them lie between this and the maximum
    maximum: float
    drift: float = PSI_LIMIT  # largest population stability index against the baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A constraint that incoming data breaks: what was allowed and what was found."""

    feature: str
    check: Violated
    allowed: float
    found: float

    def to_json(self) -> dict[str, str]:
        """An entry of `constraint_violations.json`."""
        return {
            "feature_name": self.feature,
            "constraint_check_type": self.check.value,
            "description": f"{_SENTENCES[self.check]}: allowed {self.allowed:.4g}, found {self.found:.4g}",
        }


_SENTENCES = {
    Violated.COMPLETENESS: "share of rows that have a value",
    Violated.DRIFT: "population stability index against the training data",
    Violated.MISSING_COLUMN: "rows that have a value",
    Violated.RANGE: "share of values outside the range of the training data",
}


def summarize(names: Sequence[str], values: FloatArray) -> tuple[FeatureStatistics, ...]:
    """Statistics of the columns of a table: values of shape (rows, columns), NaN where missing."""
    return tuple(_summarize(name, values[:, i].astype(np.float64)) for i, name in enumerate(names))


def _summarize(name: str, column: FloatArray) -> FeatureStatistics:
    known = within_reach(column[np.isfinite(column)][:, None])[:, 0]  # one absurd value must not make every other fit
    if len(known):
        inner = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
        mean, sd, low, high = float(known.mean()), float(known.std()), float(known.min()), float(known.max())
    else:
        inner, mean, sd, low, high = np.empty(0), 0.0, 0.0, 0.0, 0.0
    edges = np.concatenate([[-math.inf], inner, [math.inf]])
    return FeatureStatistics(
        name=name,
        present=len(known),
        missing=len(column) - len(known),
        mean=mean,
        sd=sd,
        minimum=low,
        maximum=high,
        edges=edges,
        counts=_counts(known, edges),
    )


def _counts(known: FloatArray, edges: FloatArray) -> npt.NDArray[np.float64]:
    """Values by bin; a bin holds its upper edge, so that a value repeated often fills one bin."""
    if not len(known):
        return np.zeros(len(edges) - 1)
    return np.bincount(np.searchsorted(edges[1:-1], known, side="left"), minlength=len(edges) - 1).astype(np.float64)


def suggest(statistics: Sequence[FeatureStatistics]) -> tuple[Constraint, ...]:
    """Constraints that the data behind the statistics meets, with some room."""
    suggested = []
    for column in statistics:
        room = RANGE_MARGIN * (column.maximum - column.minimum)
        low, high = column.minimum - room, column.maximum + room
        suggested.append(
            Constraint(
                name=column.name,
                completeness=max(0.0, column.completeness - COMPLETENESS_SLACK),
                minimum=max(low, 0.0) if column.minimum >= 0 else low,
                maximum=high,
            )
        )
    return tuple(suggested)


def check(
    names: Sequence[str], values: FloatArray, statistics: Sequence[FeatureStatistics], constraints: Sequence[Constraint]
) -> list[Violation]:
    """Hold incoming rows against a baseline.

    Args:
        names: Of the columns that came in; others than the baseline's are ignored.
        values: Shape (rows, columns), NaN where missing; no rows violate nothing.
        statistics: The baseline's.
        constraints: The baseline's, possibly edited by hand.
    """
    violations: list[Violation] = []
    columns = {name: i for i, name in enumerate(names)}
    baseline = {column.name: column for column in statistics}
    for constraint in constraints:
        if constraint.name not in columns:
            violations.append(
                Violation(
                    feature=constraint.name, check=Violated.MISSING_COLUMN, allowed=constraint.completeness, found=0.0
                )
            )
        elif len(values):
            column = values[:, columns[constraint.name]].astype(np.float64)
            violations += _check(column, baseline.get(constraint.name), constraint)
    return violations


def _check(column: FloatArray, baseline: FeatureStatistics | None, constraint: Constraint) -> list[Violation]:
    found: list[Violation] = []

    def violated(check: Violated, allowed: float, measured: float) -> None:
        found.append(Violation(feature=constraint.name, check=check, allowed=allowed, found=measured))

    known = column[np.isfinite(column)]
    share = len(known) / len(column)
    if share < constraint.completeness:
        violated(Violated.COMPLETENESS, constraint.completeness, share)
    if not len(known):
        return found
    outside = float(((known < constraint.minimum) | (known > constraint.maximum)).mean())
    if outside > OUTSIDE_SHARE:
        violated(Violated.RANGE, OUTSIDE_SHARE, outside)
    if baseline is not None and len(known) >= FEWEST_VALUES and len(baseline.counts) > 1 and baseline.present:
        drift = stability_index(baseline.counts.tolist(), _counts(known, baseline.edges).tolist())
        if drift > constraint.drift:
            violated(Violated.DRIFT, constraint.drift, drift)
    return found


def statistics_to_json(statistics: Sequence[FeatureStatistics]) -> dict[str, Any]:
    """`statistics.json`."""
    return {
        "version": VERSION,
        "dataset": {"item_count": max((c.present + c.missing for c in statistics), default=0)},
        "features": [
            {
                "name": column.name,
                "inferred_type": "Fractional",
                "numerical_statistics": {
                    "common": {"num_present": column.present, "num_missing": column.missing},
                    "mean": column.mean,
                    "sum": column.mean * column.present,
                    "std_dev": column.sd,
                    "min": column.minimum,
                    "max": column.maximum,
                    "distribution": {
                        "kll": {
                            "buckets": [
                                {"lower_bound": low, "upper_bound": high, "count": count}
                                for low, high, count in zip(
                                    [column.minimum, *column.edges[1:-1].tolist()],
                                    [*column.edges[1:-1].tolist(), column.maximum],
                                    column.counts.tolist(),
                                    strict=True,
                                )
                            ]
                        }
                    },
                },
            }
            for column in statistics
        ],
    }


def statistics_from_json(body: Mapping[str, Any]) -> tuple[FeatureStatistics, ...]:
    """Read `statistics.json`; raises ModelMismatchError when it is something else."""
    try:
        return tuple(_feature(row["name"], row["numerical_statistics"]) for row in body["features"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatchError(f"statistics.json is not a data-quality baseline: {error!r}") from error


def _feature(name: str, body: Mapping[str, Any]) -> FeatureStatistics:
    buckets = body["distribution"]["kll"]["buckets"]
    inner = [float(bucket["upper_bound"]) for bucket in buckets[:-1]]
    return FeatureStatistics(
        name=str(name),
        present=int(body["common"]["num_present"]),
        missing=int(body["common"]["num_missing"]),
        mean=float(body["mean"]),
        sd=float(body["std_dev"]),
        minimum=float(body["min"]),
        maximum=float(body["max"]),
        edges=np.array([-math.inf, *inner, math.inf]),
        counts=np.array([float(bucket["count"]) for bucket in buckets]),
    )


def constraints_to_json(constraints: Sequence[Constraint]) -> dict[str, Any]:
    """`constraints.json`; `range` and `drift` are ours."""
    return {
        "version": VERSION,
        "features": [
            {
                "name": constraint.name,
                "inferred_type": "Fractional",
                "completeness": constraint.completeness,
                "num_constraints": {"is_non_negative": constraint.minimum >= 0},
                "range": {"min": constraint.minimum, "max": constraint.maximum},
                "drift": constraint.drift,
            }
            for constraint in constraints
        ],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "distribution_constraints": {"perform_comparison": "Enabled", "comparison_threshold": PSI_LIMIT},
        },
    }


def constraints_from_json(body: Mapping[str, Any]) -> tuple[Constraint, ...]:
    """Read `constraints.json`; raises ModelMismatchError when it is something else."""
    try:
        return tuple(
            Constraint(
                name=str(row["name"]),
                completeness=float(row["completeness"]),
                minimum=float(row["range"]["min"]),
                maximum=float(row["range"]["max"]),
                drift=float(row["drift"]),
            )
            for row in body["features"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatchError(f"constraints.json is not a set of constraints: {error!r}") from error
