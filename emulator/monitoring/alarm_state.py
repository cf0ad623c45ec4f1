"""How a CloudWatch metric alarm judges its datapoints: M of N, missing data, comparison. Pure."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRule:
    """The settings of a metric alarm that decide its state; `period_s` is the length of one datapoint."""

    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    period_s: int
    statistic: str
    missing: str

    @classmethod
    def of(cls, alarm: Mapping[str, Any]) -> "AlarmRule":
        """From an alarm as PutMetricAlarm takes it; numbers may be strings, as in a template."""
        periods = int(alarm.get("EvaluationPeriods") or 1)
        return cls(
            comparison=str(alarm.get("ComparisonOperator")),
            threshold=float(alarm.get("Threshold") or 0.0),
            evaluation_periods=periods,
            datapoints_to_alarm=int(alarm.get("DatapointsToAlarm") or periods),
            period_s=int(alarm.get("Period") or 60),
            statistic=str(alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"),
            missing=str(alarm.get("TreatMissingData") or "missing"),
        )

    @property
    def is_supported(self) -> bool:
        """False for anomaly-detection bands, which have no threshold of their own."""
        return self.comparison in _COMPARISONS


def judge(rule: AlarmRule, datapoints: Sequence[float | None], current: State) -> State:
    """The state that the last `evaluation_periods` datapoints call for; None is a missing one.

    A missing datapoint breaches, or does not, as the rule says; under "missing" and "ignore" only the others
    count, and without any the state is INSUFFICIENT_DATA, or stays what it is.
    """
    compare = _COMPARISONS[rule.comparison]
    present = [value for value in datapoints if value is not None]
    breaching = sum(compare(value, rule.threshold) for value in present)
    absent = len(datapoints) - len(present)
    if not present:
        if rule.missing == "ignore":
            return current
        if rule.missing == "missing":
            return "INSUFFICIENT_DATA"
    if rule.missing == "breaching":
        breaching += absent
    return "ALARM" if breaching >= rule.datapoints_to_alarm else "OK"
