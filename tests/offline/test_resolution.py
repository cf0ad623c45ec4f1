import numpy as np
import pytest

from tests.unit.history.series import MINUTE_MS, averaged, minutes
from training.history.resolution import Mixed, ResolvedSeries, mixed_baseline, variance_within
from training.prepare.seeds import seed_server
from treeline.core.state.fleet import FleetState

DAY = 1440


def mix_of(times, values, *, days):
    """What CloudWatch keeps of it: the last days at 1 minute, before that 5 minutes, before that hours."""
    end = len(times)
    fine, middle = end - days[0] * DAY, end - (days[0] + days[1]) * DAY
    return {
        60: ResolvedSeries(times[fine:], values[fine:]),
        300: ResolvedSeries(*averaged(times[middle:fine], values[middle:fine], 300)),
        3600: ResolvedSeries(*averaged(times[:middle], values[:middle], 3600)),
    }


def test_the_variance_within_a_period_is_what_averaging_takes_away():
    times, values = minutes(20)
    whole = values.var(axis=0)
    averages = averaged(times, values, 3600)[1].var(axis=0)
    np.testing.assert_allclose(variance_within(ResolvedSeries(times, values), 3600), whole - averages, rtol=1e-6)


def test_a_model_fitted_on_the_mix_does_not_shift_the_z_scores_of_1_minute_data():
    """Against the model fitted on the same months at 1 minute throughout; plain pooling inflates them by a third."""
    times, values = minutes(60)
    mix = mix_of(times, values, days=(15, 25))
    mixed = mixed_baseline(mix)
    recent = mix[60].values
    whole = (recent - values.mean(axis=0)) / values.std(axis=0)
    ours = (recent - mixed.mean) / mixed.sd
    assert np.abs(ours.mean(axis=0) - whole.mean(axis=0)).max() < 0.01
    np.testing.assert_allclose(ours.std(axis=0), whole.std(axis=0), rtol=0.01)
    pooled = np.concatenate([series.values for period, series in mix.items() if period > 60])
    naive = (recent - pooled.mean(axis=0)) / pooled.std(axis=0)
    assert (naive.std(axis=0) > 1.3 * whole.std(axis=0)).all()


def test_one_resolution_alone_gives_its_plain_statistics():
    times, values = minutes(3)
    mixed = mixed_baseline({60: ResolvedSeries(times, values)})
    np.testing.assert_allclose(mixed.mean, values.mean(axis=0))
    np.testing.assert_allclose(mixed.sd, values.std(axis=0))


def test_a_value_counts_for_the_time_it_covers():
    """An hour at 10 by one hourly value and an hour at 20 by sixty: the mean is 15."""
    fine = ResolvedSeries(np.arange(60, 120) * MINUTE_MS, np.full((60, 1), 20.0) + np.tile([[-1.0], [1.0]], (30, 1)))
    mixed = mixed_baseline({60: fine, 3600: ResolvedSeries(np.array([0]), np.array([[10.0]]))})
    assert mixed.mean[0] == pytest.approx(15.0)
    assert mixed.sd[0] == pytest.approx(np.sqrt(25.0 + 1.0))


def test_a_coarse_metric_whose_lost_variance_nobody_knows_is_left_out():
    fine = ResolvedSeries(np.arange(5) * MINUTE_MS, np.column_stack([np.arange(5.0), np.full(5, np.nan)]))
    coarse = ResolvedSeries(np.array([-3_600_000]), np.array([[2.0, 50.0]]))
    mixed = mixed_baseline({60: fine, 3600: coarse})
    assert mixed.mean[1] == 0.0
    assert mixed.sd[1] == 0.0
    assert mixed.value_range[1] == 0.0


def test_seeds_take_the_wider_baselines_and_stay_consistent_with_them():
    values = minutes(3)[1]
    mean, spread = values.mean(axis=0) - 5.0, 2.0 * values.std(axis=0)
    state = FleetState(2, servers=["a"])
    seed_server(state, 0, values, Mixed(mean=mean, sd=spread, value_range=100 * spread))
    np.testing.assert_allclose(state.base_spread[0], spread, rtol=1e-5)
    np.testing.assert_allclose(state.base_mean[0], mean, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(state.day_var[0]), 0.5, rtol=1e-3)
    np.testing.assert_allclose(state.mean10_mean[0], ((values - mean) / spread).mean(axis=0), rtol=0.05)
    assert (np.sqrt(state.mean10_var[0]) < 0.5).all()


@pytest.mark.parametrize("garbage", [1e12, -1e12, 3e38, 10 * 60.0])
def test_one_garbage_sample_changes_a_baseline_by_next_to_nothing(garbage):
    times, values = minutes(3)
    broken = values.copy()
    broken[500, 0] = garbage
    clean, found = (mixed_baseline({60: ResolvedSeries(times, v)}) for v in (values, broken))
    np.testing.assert_allclose(found.mean, clean.mean, rtol=1e-3)
    np.testing.assert_allclose(found.sd, clean.sd, rtol=0.015)
    np.testing.assert_allclose(found.value_range, clean.value_range, rtol=0.02)
    within = [variance_within(ResolvedSeries(times, v), 3600) for v in (values, broken)]
    np.testing.assert_allclose(within[1], within[0], rtol=0.1)


def test_one_garbage_sample_changes_no_seed_by_much():
    times, values = minutes(3)
    broken = values.copy()
    broken[500, 0] = 1e12
    clean, found = FleetState(2, servers=["a"]), FleetState(2, servers=["a"])
    for state, own in ((clean, values), (found, broken)):
        seed_server(state, 0, own, mixed_baseline({60: ResolvedSeries(times, own)}))
    for name in ("base_mean", "base_spread", "day_var", "season_square", "tail_start", "mean10_var", "change_var"):
        np.testing.assert_allclose(getattr(found, name)[0], getattr(clean, name)[0], rtol=0.02, err_msg=name)
    excess = [state.tail_scale[0, 0] for state in (clean, found)]
    assert excess[1] == pytest.approx(excess[0], rel=0.4), "one of the 86 values beyond the 98 % quantile"
