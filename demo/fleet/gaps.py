"""What never arrives: lost rows, an agent that restarts, a metric that is not reported."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demo.fleet.incidents import Incident
from demo.fleet.plan import METRICS, FleetPlan

_OUTAGES_A_DAY = 0.12
_METRIC_RUNS_A_DAY = 0.1
_WHOLE_AGENT_SHARE = 0.5  # of silent agents; of the others one metric is missing


def arrived(plan: FleetPlan, incidents: Sequence[Incident], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows of one server exist. Outages of the agent keep half an hour away from incidents."""
    here = rng.random(plan.rows_per_server) >= plan.missing_rows
    for first, last in _runs(plan, _OUTAGES_A_DAY, (4.0, 30.0), rng):
        away = plan.minutes(30)
        if all(last + away < i.first or i.last + away < first for i in incidents):
            here[first : last + 1] = False
    return here


def remove_values(plan: FleetPlan, metrics: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Set single values, and short runs of one metric, to NaN; a row always keeps at least one metric."""
    missing = rng.random(metrics.shape) < plan.missing_values
    for first, last in _runs(plan, _METRIC_RUNS_A_DAY, (3.0, 20.0), rng):
        missing[first : last + 1, rng.integers(metrics.shape[1])] = True
    missing[missing.all(axis=1)] = False
    metrics[missing] = np.nan


def silence(
    incident: Incident, metrics: NDArray[np.float64], here: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Nothing of a server arrives during an incident, or nothing of one of its metrics; in place."""
    span = slice(incident.first, incident.last + 1)
    if rng.random() < _WHOLE_AGENT_SHARE:
        here[span] = False
    else:
        metrics[span, rng.integers(len(METRICS))] = np.nan


def _runs(
    plan: FleetPlan, a_day: float, minutes: tuple[float, float], rng: np.random.Generator
) -> list[tuple[int, int]]:
    count = int(rng.poisson(a_day * plan.days))
    firsts = rng.integers(plan.rows_per_server, size=count)
    lengths = [plan.minutes(float(m)) for m in rng.uniform(*minutes, size=count)]
    return [(int(f), int(f) + n - 1) for f, n in zip(firsts, lengths, strict=True)]
