"""Does a measure fire at the same time every day?"""

import numpy as np
import pytest

from training.prepare.gate import DAY_MS, is_periodic, pages_at

STEP = 60_000
WEEK = np.arange(7 * 1440, dtype=np.int64) * STEP


def fired(minutes):
    measure = np.random.default_rng(0).uniform(0, 0.1, len(WEEK))
    measure[np.asarray(minutes)] = 10.0 + np.arange(len(minutes)) * 0.01
    return measure


def test_runs_less_than_an_hour_apart_are_one_page():
    measure = np.zeros(300)
    measure[[10, 11, 69, 200]] = 5.0
    assert pages_at(WEEK[:300], measure, 1.0).tolist() == [10 * STEP, 200 * STEP]
    assert len(pages_at(WEEK[:300], measure, 9.0)) == 0


def test_a_nightly_job_is_periodic_also_around_midnight():
    jitter = np.array([0, 5, -7, 3, -2, 8])
    assert is_periodic(WEEK, fired(np.arange(6) * 1440 + 180 + jitter))
    assert is_periodic(WEEK, fired((np.arange(6) + 1) * 1440 + jitter))


def test_firings_at_any_time_of_day_are_not():
    assert not is_periodic(WEEK, fired([300, 2000, 3900, 5600, 7100, 9000]))


@pytest.mark.parametrize("measure", [np.full(len(WEEK), -np.inf), np.zeros(len(WEEK))])
def test_a_measure_that_never_fires_is_not(measure):
    assert not is_periodic(WEEK, measure)


def test_a_history_of_nothing_is_not():
    assert not is_periodic(WEEK[:0], np.array([]))


def test_three_firings_are_too_few_to_say():
    measure = np.where(np.isin(np.arange(len(WEEK)), [100, 1540, 2980]), 10.0, 0.0)
    assert not is_periodic(WEEK, measure)
    assert DAY_MS == 1440 * STEP
