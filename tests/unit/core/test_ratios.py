"""A metric in percent that comes as a ratio is noticed by its values."""

import numpy as np
import pytest

from treeline.core.model.ratios import is_percent, ratio_hours
from treeline.core.profile import Metric

NAN = np.nan


@pytest.mark.parametrize(
    ("values", "looks_so"),
    [([0.0, 0.42, 1.0], 1), ([NAN, 0.42], 1), ([0.0, 0.0], 0), ([0.4, 1.1], 0), ([-0.1, 0.4], 0), ([41.5, 60.0], 0)],
)
def test_an_hour_looks_like_ratios_where_all_its_values_lie_within_0_to_1_and_not_all_are_0(values, looks_so):
    found, known = ratio_hours(np.zeros(len(values), dtype=np.int64), np.array(values)[:, None])
    assert (found.tolist(), known.tolist()) == ([looks_so], [1])


def test_hours_count_by_metric_and_those_without_a_value_do_not():
    hours = np.array([7, 7, 8, 8, 10])
    values = np.array([[0.2, 20.0], [0.3, NAN], [0.4, NAN], [40.0, NAN], [NAN, 0.5]])
    found, known = ratio_hours(hours, values)
    assert (found.tolist(), known.tolist()) == ([1, 1], [2, 2])


def test_no_observations_are_no_hours():
    found, known = ratio_hours(np.empty(0, dtype=np.int64), np.empty((0, 2)))
    assert (found.tolist(), known.tolist()) == ([0, 0], [0, 0])


def test_percent_is_known_by_the_unit_or_the_name():
    percent = [Metric(name="cpu", unit="%"), Metric(name="disk_used_percent")]
    other = [Metric(name="load_1"), Metric(name="percent_of_time"), Metric(name="off_percent", unit="bp")]
    assert [is_percent(metric) for metric in (*percent, *other)] == [True, True, False, False, False]
