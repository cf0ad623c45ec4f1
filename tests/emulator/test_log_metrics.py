import json

import pytest

from emulator.monitoring.emf import metric_values
from emulator.monitoring.log_pattern import PatternError, compile_pattern


def _line(**fields):
    header = {
        "Timestamp": 1_700_000_000_500,
        "CloudWatchMetrics": [
            {
                "Namespace": "Treeline",
                "Dimensions": [["stage", "service"], ["stage"]],
                "Metrics": [{"Name": "Scored", "Unit": "Count"}],
            }
        ],
    }
    return json.dumps({"_aws": header, "stage": "dev", "service": "detect", **fields})


def test_a_value_is_published_under_each_set_of_dimensions():
    values = list(metric_values(_line(Scored=[3.0])))
    assert [v.dimensions for v in values] == [{"stage": "dev", "service": "detect"}, {"stage": "dev"}]
    assert {(v.namespace, v.name, v.value, v.unit) for v in values} == {("Treeline", "Scored", 3.0, "Count")}


def test_every_value_of_a_list_counts():
    assert [v.value for v in metric_values(_line(Scored=[1, 2]))] == [1.0, 2.0, 1.0, 2.0]


@pytest.mark.parametrize("line", ["plain text", '{"a": 1}', '{"_aws": broken', '{"_aws": 3}', _line()])
def test_other_lines_carry_no_metric(line):
    assert list(metric_values(line)) == []


@pytest.mark.parametrize(
    ("pattern", "line", "matches"),
    [
        ('"Task timed out"', "2026 Task timed out after 3 s", True),
        ('"Task timed out"', "the task was timed", False),
        ('{ $.level = "ERROR" }', '{"level": "ERROR"}', True),
        ('{ $.level = "ERROR" }', '{"level": "INFO"}', False),
        ('{ $.level = "ERROR" }', '{"message": "ERROR"}', False),
        ('{ $.level = "ERROR" }', "{no json", False),
        ('{ $.level = "ERROR" }', "ERROR", False),
        ('{ $.level = "ERROR" }', '["ERROR"]', False),
    ],
)
def test_filter_patterns_match_as_cloudwatch_does(pattern, line, matches):
    assert compile_pattern(pattern)(line) is matches


@pytest.mark.parametrize("pattern", ["", "ERROR", "[ip, user, ...]", '{ $.level = "ERR*" }', "{ $.count > 3 }"])
def test_a_pattern_outside_the_supported_part_is_refused(pattern):
    with pytest.raises(PatternError):
        compile_pattern(pattern)
