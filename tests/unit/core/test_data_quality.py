import json

import numpy as np
import pytest

from treeline.core.errors import ModelMismatchError
from treeline.core.model.data_quality import (
    BINS,
    Violated,
    check,
    constraints_from_json,
    constraints_to_json,
    statistics_from_json,
    statistics_to_json,
    suggest,
    summarize,
)

NAMES = ("cpu_percent", "memory_percent")


def table(rows=5_000, *, seed=1):
    rng = np.random.default_rng(seed)
    return np.column_stack([np.clip(40 + 10 * rng.normal(size=rows), 0, 100), rng.uniform(50, 70, rows)])


@pytest.fixture(scope="module")
def baseline():
    statistics = summarize(NAMES, table())
    return statistics, suggest(statistics)


def violations(baseline, values, names=NAMES):
    return {(v.feature, v.check): v.found for v in check(names, values, *baseline)}


def test_statistics_are_those_of_the_table():
    values = table()
    values[:500, 0] = np.nan
    cpu, memory = summarize(NAMES, values)
    assert (cpu.present, cpu.missing, cpu.completeness) == (4_500, 500, 0.9)
    assert cpu.mean == pytest.approx(np.nanmean(values[:, 0]))
    assert cpu.sd == pytest.approx(np.nanstd(values[:, 0]))
    assert (memory.minimum, memory.maximum) == (values[:, 1].min(), values[:, 1].max())
    assert len(memory.counts) == BINS
    np.testing.assert_allclose(memory.counts, 500, atol=1)


def test_more_of_the_same_violates_nothing(baseline):
    assert violations(baseline, table(seed=2)) == {}
    assert violations(baseline, table(rows=0)) == {}


def test_what_training_suggests_leaves_some_room():
    """One row in a hundred may lack the metric, a tenth of the range is free on either side; what is never negative is
    not expected to become so."""
    load, balance = suggest(
        summarize(("load", "balance"), np.column_stack([np.linspace(0, 100, 50), np.linspace(-10, 90, 50)]))
    )
    assert (load.completeness, load.minimum, load.maximum) == pytest.approx((0.99, 0.0, 110.0))
    assert (balance.minimum, balance.maximum) == pytest.approx((-20.0, 100.0))
    assert load.drift == 0.25


def test_a_metric_that_was_never_below_zero_is_said_to_be_so():
    values = np.column_stack([np.linspace(0, 100, 50), np.linspace(-10, 90, 50)])
    body = constraints_to_json(suggest(summarize(("load", "balance"), values)))
    assert [row["num_constraints"]["is_non_negative"] for row in body["features"]] == [True, False]


def test_a_column_without_values_has_statistics_of_nothing():
    (column,) = summarize(("x",), np.full((3, 1), np.nan))
    assert (column.present, column.missing) == (0, 3)
    assert (column.mean, column.sd, column.minimum, column.maximum) == (0.0, 0.0, 0.0, 0.0)
    assert column.counts.tolist() == [0.0]
    (none,) = summarize(("x",), np.empty((0, 1)))
    assert none.completeness == 1.0
    assert statistics_to_json(())["dataset"]["item_count"] == 0


@pytest.mark.parametrize(("outside", "found"), [(5, False), (6, True)])
def test_one_value_in_a_thousand_may_be_out_of_range(baseline, outside, found):
    values = table(seed=2)
    values[:outside, 1] = 90.0
    assert (("memory_percent", Violated.RANGE) in violations(baseline, values)) is found


@pytest.mark.parametrize(("rows", "found"), [(199, False), (200, True)])
def test_two_hundred_values_are_a_distribution(baseline, rows, found):
    values = table(seed=2)[:rows]
    values[:, 0] = np.clip(values[:, 0] + 12, 0, 75)
    assert (("cpu_percent", Violated.DRIFT) in violations(baseline, values)) is found


def test_missing_values_are_found(baseline):
    values = table(seed=2)
    values[:200, 1] = np.nan
    assert violations(baseline, values) == {("memory_percent", Violated.COMPLETENESS): 0.96}


def test_values_out_of_range_are_found_but_a_single_one_is_not(baseline):
    values = table(seed=2)
    values[0, 1] = 90.0
    assert violations(baseline, values) == {}
    values[:50, 1] = 90.0
    assert violations(baseline, values)["memory_percent", Violated.RANGE] == pytest.approx(0.01)


def test_a_shifted_distribution_is_found_though_all_values_are_in_range(baseline):
    values = table(seed=2)
    values[:, 0] = np.clip(values[:, 0] + 8, 0, 75)
    assert violations(baseline, values).keys() == {("cpu_percent", Violated.DRIFT)}


def test_few_values_say_nothing_about_a_distribution(baseline):
    values = table(seed=2)[:100]
    values[:, 0] = np.clip(values[:, 0] + 8, 0, 75)
    assert violations(baseline, values) == {}


def test_a_column_that_is_gone_is_named_and_a_new_one_is_ignored(baseline):
    found = violations(baseline, table(seed=2), names=("cpu_percent", "disk_iops"))
    assert found == {("memory_percent", Violated.MISSING_COLUMN): 0.0}


@pytest.mark.parametrize("column", [np.full(1_000, 3.0), np.zeros(1_000), np.full(1_000, np.nan)])
def test_a_constant_or_empty_column_meets_its_own_constraints(column):
    statistics = summarize(("x",), column[:, None])
    assert check(("x",), column[:, None], statistics, suggest(statistics)) == []


def test_a_metric_that_often_holds_one_value_does_not_drift_from_itself():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(5_000) < 0.6, 0.0, rng.exponential(size=5_000))[:, None]
    again = np.where(rng.random(5_000) < 0.6, 0.0, rng.exponential(size=5_000))[:, None]
    statistics = summarize(("x",), values)
    assert check(("x",), again[again[:, 0] < values.max()], statistics, suggest(statistics)) == []


def test_documents_are_in_model_monitors_shape_and_read_back(baseline):
    statistics, constraints = baseline
    written = json.loads(json.dumps(statistics_to_json(statistics)))
    assert written["dataset"]["item_count"] == 5_000
    assert written["version"] == constraints_to_json(constraints)["version"] == 0.0
    feature = written["features"][0]
    assert feature["numerical_statistics"]["common"] == {"num_present": 5_000, "num_missing": 0}
    assert sum(b["count"] for b in feature["numerical_statistics"]["distribution"]["kll"]["buckets"]) == 5_000
    again = (
        statistics_from_json(written),
        constraints_from_json(json.loads(json.dumps(constraints_to_json(constraints)))),
    )
    shifted = table(seed=2)
    shifted[:, 0] = np.clip(shifted[:, 0] + 8, 0, 75)
    assert check(NAMES, shifted, *again) == check(NAMES, shifted, *baseline) != []
    (violation,) = check(NAMES, shifted, *again)
    assert violation.to_json()["constraint_check_type"] == "baseline_drift_check"


@pytest.mark.parametrize("body", [{}, {"features": [{"name": "x"}]}, {"features": 3}])
def test_other_documents_are_refused(body):
    with pytest.raises(ModelMismatchError):
        statistics_from_json(body)
    with pytest.raises(ModelMismatchError):
        constraints_from_json(body)
