"""Rules as people set them: one alarm on each metric of each server, at a limit that nothing calibrates.

They decide when to page by themselves, by `training.evaluate.peers.alarms`. Alarms of one server that go off at the
same step are one page.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.evaluate.backtest import Backtest, Trace
from training.evaluate.peers.alarms import Alarm
from training.evaluate.peers.limits import usual_limit
from training.history.grid import Grid
from treeline.core.channels.channel import DAY_S
from treeline.core.detection.policy import Change
from treeline.core.detection.warmup import spread_floor
from treeline.core.statistics import FloatArray, ew_update, half_life_alpha, rolling_zscore, standardize

STATIC_FOR_S = 300.0
SIGMAS, SIGMAS_P2 = 3.0, 1.5
WINDOW = 60  # observations, of the rolling z-score
COLUMNS_AT_ONCE = 100  # series measured together: few calls of numpy, little memory

Measure = Callable[[Grid, Grid], FloatArray]  # past, present -> (times, servers, metrics) of the present


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        name: As it stands in tables.
        measure: What its alarms watch, NaN where a value is missing or has no alarm.
        alarm: Its alarm, given the sampling step (s).
        says: What it is, for the note under a table, given what is watched.
    """

    name: str
    measure: Measure
    alarm: Callable[[float], Alarm]
    says: Callable[[Grid], str]

    def run(self, past: Grid, present: Grid) -> Backtest:
        """Page over the test part; the trace's score and severity are the largest measure of a server's metrics."""
        alarm = self.alarm(present.step_s)
        largest = np.full(present.values.shape[:2], np.nan, dtype=np.float32)
        changes: list[tuple[str, Change]] = []
        at_once = max(1, COLUMNS_AT_ONCE // len(present.metrics))
        for first in range(0, len(present.servers), at_once):
            share = slice(first, min(first + at_once, len(present.servers)))
            measured = self.measure(past.of_servers(share), present.of_servers(share))
            for column, server in enumerate(present.servers[share]):
                for metric in range(len(present.metrics)):
                    series = measured[:, column, metric]
                    changes += [(server, change) for change in alarm.changes(first + column, present.times_ms, series)]
            largest[:, share] = np.fmax.reduce(measured, axis=2)
        present_at = present.present()
        severity = np.where(present_at, np.nan_to_num(largest), np.float32(np.nan))
        limit = np.broadcast_to(np.float32(alarm.p1 if alarm.p2 is None else alarm.p2), severity.shape)
        ordered = sorted(changes, key=lambda entry: (entry[1].at, entry[0], entry[1].sequence))
        return Backtest(ordered, Trace(severity, severity, limit, None))


def static_share(past: Grid, present: Grid) -> FloatArray:
    """Each value as a share of its usual limit."""
    limits = [[usual_limit(server, metric) or math.nan for metric in present.metrics] for server in present.servers]
    return np.asarray(present.values / np.array(limits))


def above_mean(past: Grid, present: Grid) -> FloatArray:
    """How far above the training mean, in training standard deviations."""
    mean, spread, _ = training_moments(past)
    return standardize(present.values.astype(np.float64), mean, spread)


def above_ema(past: Grid, present: Grid) -> FloatArray:
    """How far above the exponentially weighted mean, in weighted standard deviations, each compared, then learned."""
    mean, spread, floor = training_moments(past)
    variance = spread**2
    alpha = half_life_alpha(np.array(present.step_s), DAY_S)
    z = np.empty(present.values.shape)
    for t, value in enumerate(present.values.astype(np.float64)):
        z[t] = standardize(value, mean, np.maximum(np.sqrt(variance), floor))
        ew_update(mean, variance, value, alpha)
    return z


def from_rolling_mean(past: Grid, present: Grid) -> FloatArray:
    """Absolute z-score against the WINDOW steps before; the first ones reach back into the training part."""
    values = np.concatenate([past.values[-WINDOW:], present.values]).astype(np.float64)
    _, _, floor = training_moments(past)
    flat = rolling_zscore(values.reshape(len(values), -1), WINDOW, floor.reshape(-1))
    return np.abs(flat).reshape(values.shape)[-len(present.values) :]


def training_moments(past: Grid) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, standard deviation (floored as everywhere) and that floor, each (servers, metrics).

    A series without a training part has no mean (NaN).
    """
    values = past.values.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's for a series without values
        mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        value_range = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    level, spread_of_all = np.nan_to_num(mean), np.nan_to_num(value_range)
    floor = spread_floor(np.zeros_like(level), spread_of_all, level)
    return mean, spread_floor(np.nan_to_num(sd), spread_of_all, level), floor


def _static_alarm(step_s: float) -> Alarm:
    periods = math.ceil(STATIC_FOR_S / step_s)
    return Alarm(p1=1.0, datapoints_to_alarm=periods, evaluation_periods=periods)


def _sigma_alarm(step_s: float) -> Alarm:
    return Alarm(p1=SIGMAS, datapoints_to_alarm=2, evaluation_periods=3)


def _z_alarm(step_s: float) -> Alarm:
    return Alarm(p1=SIGMAS, p2=SIGMAS_P2, datapoints_to_alarm=2, evaluation_periods=3)


def _static_note(grid: Grid) -> str:
    limits: dict[str, float] = {}
    for server in grid.servers:
        for metric in grid.metrics:
            limit = usual_limit(server, metric)
            if limit is not None:
                limits[metric] = limit
    if not limits:
        return "no metric here has a usual limit, so there is no alarm"
    watched = ", ".join(f"{metric} > {limit:g} for 5 min" for metric, limit in limits.items())
    return f"{watched}; other metrics have no usual limit"


RULES = (
    Rule(name="static alarms", measure=static_share, alarm=_static_alarm, says=_static_note),
    Rule(
        name="mean + 3 sigma",
        measure=above_mean,
        alarm=_sigma_alarm,
        says=lambda grid: "more than 3 training standard deviations above the training mean, 2 of 3 datapoints",
    ),
    Rule(
        name="EMA + 3 sigma",
        measure=above_ema,
        alarm=_sigma_alarm,
        says=lambda grid: "the same against mean and deviation of half-life 1 d, which follow the data, 2 of 3",
    ),
    Rule(
        name="rolling z-score",
        measure=from_rolling_mean,
        alarm=_z_alarm,
        says=lambda grid: f"|z| over the last {WINDOW} steps above 3: P1, from 1.5 on: P2, 2 of 3 datapoints",
    ),
)
