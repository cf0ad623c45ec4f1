import pytest

from emulator.monitoring.alarm_state import AlarmRule, judge


def _rule(missing: str = "missing", datapoints: int = 2, periods: int = 3) -> AlarmRule:
    return AlarmRule(
        comparison="GreaterThanThreshold",
        threshold=1.0,
        evaluation_periods=periods,
        datapoints_to_alarm=datapoints,
        period_s=60,
        statistic="Sum",
        missing=missing,
    )


@pytest.mark.parametrize(
    ("values", "state"), [([2.0, 0.0, 2.0], "ALARM"), ([2.0, 0.0, 1.0], "OK"), ([0.0, 0.0, 0.0], "OK")]
)
def test_m_of_n_datapoints_raise_and_clear(values, state):
    assert judge(_rule(), values, "ALARM") == state


@pytest.mark.parametrize(
    ("missing", "values", "current", "state"),
    [
        ("breaching", [None, None, 0.0], "OK", "ALARM"),
        ("notBreaching", [None, 2.0, None], "ALARM", "OK"),
        ("notBreaching", [None, None, None], "ALARM", "OK"),
        ("ignore", [None, None, None], "ALARM", "ALARM"),
        ("missing", [None, None, None], "ALARM", "INSUFFICIENT_DATA"),
        ("missing", [None, 2.0, 2.0], "OK", "ALARM"),
    ],
)
def test_missing_data_is_treated_as_the_alarm_says(missing, values, current, state):
    assert judge(_rule(missing), values, current) == state


def test_an_alarm_from_a_template_defaults_to_all_datapoints():
    rule = AlarmRule.of(
        {"ComparisonOperator": "LessThanThreshold", "Threshold": "1", "EvaluationPeriods": "3", "Period": "60"}
    )
    assert (rule.datapoints_to_alarm, rule.missing, rule.threshold) == (3, "missing", 1.0)


def test_an_anomaly_band_is_not_claimed_to_be_supported():
    assert not AlarmRule.of({"ComparisonOperator": "GreaterThanUpperThreshold"}).is_supported
