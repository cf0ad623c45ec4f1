"""Training refuses what it cannot learn from."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.detection_fakes import SAMPLES_PER_TREE, distance_score, fleet
from training.history.grid import Grid
from training.prepare.calibrating import _gate, calibrate_package
from training.prepare.expectations import held_out as held_out_from
from training.prepare.expectations import warm_up
from training.prepare.preparation import prepare
from training.prepare.sampling import ROWS_PER_SERVER, drawn
from treeline.core.channels import registry
from treeline.core.channels.tail import Tail
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.metric_warmup import UNKNOWN
from treeline.core.errors import UsageError


@pytest.mark.parametrize("steps", [0, 1])
def test_a_history_without_two_observations_of_any_server_is_refused(steps):
    values = np.full((max(steps, 1), 2, 3), np.nan, dtype=np.float32)
    values[:steps, 0] = 50.0
    grid = Grid(np.arange(len(values), dtype=np.int64) * 60_000, ("a", "b"), ("x", "y", "z"), values, 60.0)
    with pytest.raises(UsageError, match="two observations"):
        prepare(grid, seed=1)


def test_a_server_that_never_reported_stays_out_and_the_others_are_learned():
    values = np.random.default_rng(1).normal(50, 2, (40, 2, 3)).astype(np.float32)
    values[:, 1] = np.nan
    values[:, 0, 2] = np.nan
    grid = Grid(np.arange(40, dtype=np.int64) * 60_000, ("a", "b"), ("x", "y", "z"), values, 60.0)
    prepared = prepare(grid, seed=1)
    assert prepared.state.phase.tolist() == [1, 0]
    assert np.isfinite(prepared.training_rows).all()
    settled, held_out = warm_up(40, 60.0), held_out_from(40, 60.0)
    assert len(prepared.training_rows) == held_out - settled == 18, "a third to settle in, a third held out"


@pytest.mark.parametrize(("reporting", "is_known"), [((), False), ((0,), True), ((0, 1), True)])
def test_a_metric_that_no_server_reported_varies_in_the_forests_rows_as_metrics_usually_do(reporting, is_known):
    """Else the forest would find it infinitely strange once it comes; one that some server reported it has seen."""
    values = np.random.default_rng(1).normal(50, 2, (400, 2, 2)).astype(np.float32)
    for server in {0, 1} - set(reporting):
        values[:, server, 1] = np.nan
    grid = Grid(np.arange(400, dtype=np.int64) * 600_000, ("a", "b"), ("x", "y"), values, 600.0)
    rows = prepare(grid, seed=1).training_rows
    one_of_b = rows[-1]
    if is_known:
        assert (one_of_b[[1, 3]] == 0.0).all() == (1 not in reporting)
    else:
        assert rows[:, [1, 3]].std(axis=0) == pytest.approx([1.0, 1.0], abs=0.15)


@pytest.mark.parametrize(("seen", "known"), [(19, False), (20, True)])
def test_a_metric_of_fewer_than_twenty_values_has_no_baseline_from_training(seen, known):
    values = np.random.default_rng(1).normal(50, 2, (80, 1, 2)).astype(np.float32)
    values[seen:, 0, 1] = np.nan
    grid = Grid(np.arange(80, dtype=np.int64) * 60_000, ("a",), ("x", "y"), values, 60.0)
    assert (prepare(grid, seed=1).state.base_spread[0] != UNKNOWN).tolist() == [True, known]


def package_of(prepared, score=distance_score, **options):
    return calibrate_package(prepared, score, model_version="m", samples_per_tree=SAMPLES_PER_TREE, **options)


@pytest.mark.parametrize(("samples", "limit"), [(255, 8.0), (511, 9.0)])
def test_the_limit_of_a_score_is_that_of_the_trees_as_they_were_grown(samples, limit):
    prepared = prepare(fleet(1, 200), seed=1)
    package = calibrate_package(prepared, distance_score, model_version="m", samples_per_tree=samples)
    assert package.calibration.score_limit == pytest.approx(limit)
    assert Calibration.from_json(package.calibration.to_json()).score_limit == pytest.approx(limit)


def test_the_slow_mean_of_the_scores_begins_where_training_left_it():
    prepared = prepare(fleet(2, 200), seed=1)
    scores = [distance_score(prepared.rows[prepared.held_out[:, i], i]) for i in range(2)]
    prepared.rows[prepared.present & ~prepared.held_out] *= 0.5  # as a forest scores what it was grown on
    seeds = package_of(prepared).seeds
    assert seeds.score_mean.tolist() == pytest.approx([own.mean() for own in scores], rel=1e-5)
    assert seeds.score_var.tolist() == pytest.approx([own.var() for own in scores], rel=1e-4)


def test_the_forest_is_grown_on_the_later_half_of_a_long_past_and_on_all_of_a_short_one():
    """While a season is young, its rows say little of what is far."""
    times = 4 * ROWS_PER_SERVER
    rows = np.repeat(np.arange(times, dtype=np.float32)[:, None, None], 2, axis=1)
    learned = np.ones((times, 2), dtype=bool)
    learned[100:, 1] = False
    chosen = drawn(rows, learned, seed=1)[:, 0]
    long, short = chosen[:ROWS_PER_SERVER], chosen[ROWS_PER_SERVER:]
    assert (long.min() >= times / 2, long.max() > 0.99 * times) == (True, True)
    assert len(set(long.tolist())) == ROWS_PER_SERVER
    assert short.tolist() == list(range(100))


def test_thresholds_of_model_evidence_are_found_on_what_was_held_out():
    """A forest finds nothing strange in the rows that it was grown on."""
    prepared = prepare(fleet(3, 1440, step_ms=600_000), seed=1)
    learned = prepared.present & ~prepared.held_out
    usual = package_of(replace(prepared, state=prepared.state.copy())).calibration["score"]
    prepared.rows[learned] *= 5.0
    assert package_of(prepared).calibration["score"] == usual


def test_a_server_that_never_moved_has_the_smallest_spreads_there_are():
    """Its first movement would be infinitely strange."""
    grid = fleet(1, 200)
    still = replace(grid, values=np.full_like(grid.values, 50.0))
    seeds = package_of(prepare(still, seed=1)).seeds
    assert seeds.channel_floor[0].tolist() == pytest.approx([0.1] * len(registry.CHANNELS))
    assert (seeds.residual_scale > 0).all()
    assert (seeds.relation_sd > 0).all()
    assert seeds.relation[0] == pytest.approx(np.eye(4)), "nothing is known to imply anything"


def test_a_channels_spread_is_never_taken_for_less_than_a_fifth_of_its_trainings():
    prepared = prepare(fleet(1, 600), seed=1)
    prepared.magnitudes[:] *= 10.0  # well above the smallest there is
    sd = prepared.magnitudes[:, 0].astype(np.float64).std(axis=0)
    seeds = package_of(prepared).seeds
    assert (sd[:-1] > 0.5).all(), "the last is the saturation, of which there is none"
    assert seeds.channel_floor[0].tolist() == pytest.approx([*(0.2 * sd[:-1]).tolist(), 0.1])


def test_a_tail_is_never_thinner_than_the_smallest():
    """One value repeated, and a few far out: the quantile of magnitudes is 0, or nearly."""
    still = np.zeros((400, 2))
    still[::100, 1] = 4.0
    seeds = Tail().seeds(still)
    assert seeds["tail_start"].tolist() == [0.5, 0.5]
    assert seeds["tail_scale"].tolist() == pytest.approx([0.25, 4.0])


def test_a_tail_of_one_value_is_as_long_as_that_value_is_far_out():
    still = np.zeros((40, 1))
    still[7] = 4.0
    seeds = Tail().seeds(still)
    assert seeds["tail_start"] == pytest.approx(0.88)  # the 98 % quantile lies between 0 and 4
    assert seeds["tail_scale"] == pytest.approx(4.0 - 0.88)


def test_channels_that_may_be_gated_are_and_the_others_are_not():
    """Each measure fires at the same minute of every day: a job."""
    days, step_ms = 14, 600_000
    times = np.arange(days * 144, dtype=np.int64) * step_ms
    measures = np.zeros((len(times), 1, len(registry.CHANNELS)), dtype=np.float32)
    measures[30::144] = 9.0
    prepared = replace(prepare(fleet(1, 40), seed=1), times_ms=times)
    _gate(prepared, measures)
    gated = {c.name for c, off in zip(registry.CHANNELS, prepared.state.channel_gated[0], strict=True) if off}
    assert gated == {"day", "mean10"}
