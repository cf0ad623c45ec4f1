"""The usual rules: when their alarms go off, by hand-made series and by formula."""

from itertools import pairwise

import numpy as np
import pytest

from training.evaluate.experiment import openings
from training.evaluate.pages import Tier, paging
from training.evaluate.peers.alarms import Alarm
from training.evaluate.peers.catalogue import entry
from training.evaluate.peers.limits import usual_limit
from training.evaluate.peers.rules import Rule, above_ema, above_mean, from_rolling_mean
from training.history.grid import Grid
from treeline.core.alert import AlertEvent, Priority

MINUTE_MS = 60_000
TWO_OF_THREE = Alarm(p1=3.0, p2=1.5, datapoints_to_alarm=2, evaluation_periods=3)


def grid(values, *, metrics=("cpu_percent",), servers=("web-1",), first=0, step_s=60.0):
    """Values of shape (times,), or (times, servers, metrics)."""
    cube = np.asarray(values, dtype=np.float32)
    cube = cube[:, None, None] if cube.ndim == 1 else cube
    return Grid((first + np.arange(len(cube))) * int(step_s * 1000), servers, metrics, cube, step_s)


def parts(past, present, **kind):
    return grid(past, **kind), grid(present, first=len(past), **kind)


def minutes(name, past, present, **kind):
    """At which minutes of the present a rule pages."""
    before, after = parts(past, present, **kind)
    done = entry(name).run(before, after)
    return [(change.at - after.start_ms) // MINUTE_MS for _, change in done.changes]


def changes(values, alarm=TWO_OF_THREE):
    series = np.array(values)
    told = alarm.changes(0, np.arange(len(series)), series)
    return sorted((c.at, c.event, c.priority, c.opened_at) for c in told)


def test_a_static_alarm_goes_off_after_five_minutes_above_80_and_not_before():
    four, five = [50.0] * 5 + [81.0] * 4 + [50.0] * 5, [50.0] * 5 + [81.0] * 5 + [50.0] * 5
    assert minutes("static alarms", [50.0] * 9, four) == []
    assert minutes("static alarms", [50.0] * 9, five) == [9]
    assert minutes("static alarms", [50.0] * 9, [80.0] * 20) == []


def test_at_a_step_of_five_minutes_one_datapoint_is_five_minutes():
    before, after = parts([50.0] * 9, [50.0, 90.0, 50.0, 50.0], step_s=300.0)
    assert len(entry("static alarms").run(before, after).changes) == 1


def test_a_bimodal_load_pages_at_each_of_its_high_times():
    day = [40.0] * 12 + [90.0] * 12
    assert minutes("static alarms", day * 3, day * 3) == [16, 40, 64]


@pytest.mark.parametrize(
    ("server", "metric", "limit"),
    [
        ("web-1", "cpu_percent", 80.0),
        ("web-1", "CPUUtilization", 80.0),
        ("web-1", "memory_percent", 90.0),
        ("web-1", "mem_used_percent", 90.0),
        ("web-1", "disk_used_percent", 90.0),
        ("ec2_cpu_utilization_24ae8d", "value", 80.0),
        ("ec2_network_in_257a54", "value", None),
        ("cpu_percent_host", "m01", None),
        ("web-1", "disk_iops", None),
        ("web-1", "network_mbps", None),
        ("machine-1-2", "cpu_r", None),
        ("machine-1-2", "mem_u", None),
    ],
)
def test_only_shares_of_a_whole_have_a_usual_limit(server, metric, limit):
    assert usual_limit(server, metric) == limit


def test_without_a_usual_limit_nothing_goes_off_and_the_row_says_why():
    before, after = parts([0.5] * 9, [99.0] * 30, metrics=("m01",))
    rule = entry("static alarms")
    done = rule.run(before, after)
    assert done.changes == []
    assert (done.trace.severity == 0.0).all()
    assert rule.says(after) == "no metric here has a usual limit, so there is no alarm"
    assert rule.says(grid([1.0])) == "cpu_percent > 80 for 5 min; other metrics have no usual limit"


def test_an_alarm_needs_two_of_three_and_is_ok_when_fewer_breach():
    pages = changes([0, 4, 0, 0, 4, 0, 4, 4, 0, 0, 4, 4])
    assert [at for at, *_ in pages] == [6, 11]
    assert all(event is AlertEvent.OPENED and priority is Priority.P1 for _, event, priority, _ in pages)


def test_a_limit_of_p1_is_exceeded_and_one_of_p2_is_reached():
    assert changes([3.0] * 3) == [(1, AlertEvent.OPENED, Priority.P2, 1)]
    assert changes([1.5] * 3) == [(1, AlertEvent.OPENED, Priority.P2, 1)]
    assert changes([1.49] * 3) == []


def test_the_first_p1_of_an_episode_escalates_it_and_a_second_one_pages_anew():
    pages = changes([2, 2, 4, 4, 2, 2, 4, 4, 0, 0, 0, 2, 2, 4, 4])
    assert pages == [
        (1, AlertEvent.OPENED, Priority.P2, 1),
        (3, AlertEvent.ESCALATED, Priority.P1, 1),
        (7, AlertEvent.OPENED, Priority.P1, 7),
        (12, AlertEvent.OPENED, Priority.P2, 12),
        (14, AlertEvent.ESCALATED, Priority.P1, 12),
    ]
    opened = [(at, AlertEvent.OPENED, Priority.P1, at) for at in (1, 5)]
    assert changes([4, 4, 2, 2, 4, 4]) == opened


def test_missing_datapoints_are_passed_over():
    assert [at for at, *_ in changes([0, 4, np.nan, np.nan, 4])] == [4]
    assert changes([np.nan] * 4) == []


def test_mean_and_three_sigma_is_the_training_parts_and_looks_upwards_only():
    past = [40.0, 60.0] * 50  # mean 50, standard deviation 10
    before, after = parts(past, [81.0, 79.0, 19.0])
    np.testing.assert_allclose(above_mean(before, after)[:, 0, 0], [3.1, 2.9, -3.1], rtol=1e-6)
    assert minutes("mean + 3 sigma", past, [50, 81, 81, 50, 50, 19, 19, 19]) == [2]


def test_the_ema_rule_compares_by_formula_and_learns_afterwards():
    past = [40.0, 60.0] * 50
    present = [70.0, 90.0, 55.0]
    before, after = parts(past, present, step_s=43_200.0)  # two steps are a half-life
    alpha = 1.0 - 0.5**0.5
    mean, variance, expected = 50.0, 100.0, []
    for value in present:
        delta = value - mean
        expected.append(delta / variance**0.5)
        mean += alpha * delta
        variance = (1 - alpha) * (variance + alpha * delta * delta)
    np.testing.assert_allclose(above_ema(before, after)[:, 0, 0], expected, rtol=1e-5)


def test_a_level_that_stays_ends_the_ema_rules_alarms_and_not_those_of_the_fixed_mean():
    rng = np.random.default_rng(5)
    past, present = rng.normal(50, 1, 4000), rng.normal(53.2, 1, 6000)
    fixed, moving = (minutes(name, past, present) for name in ("mean + 3 sigma", "EMA + 3 sigma"))
    assert sum(at > 3000 for at in fixed) > 100
    assert 0 < len(moving) < len(fixed) / 5
    assert sum(at > 3000 for at in moving) < 20


def test_the_rolling_z_score_is_against_the_60_steps_before_and_reaches_into_the_training_part():
    past, present = [40.0, 60.0] * 50, [75.0, 30.0]
    before, after = parts(past, present)
    last = [*past, *present]
    expected = [abs(last[i] - np.mean(last[i - 60 : i])) / np.std(last[i - 60 : i]) for i in (100, 101)]
    np.testing.assert_allclose(from_rolling_mean(before, after)[:, 0, 0], expected, rtol=1e-6)


def test_rolling_z_scores_page_at_both_priorities():
    past = [49.0, 51.0] * 100
    before, after = parts(past, [50.0, 52.0, 52.0, 55.0, 55.0])
    pages = openings(entry("rolling z-score").run(before, after).changes)
    assert [(o.at_ms // MINUTE_MS - 200, o.priority) for o in pages] == [(2, "P2"), (4, "P1")]
    assert len(paging(pages, Tier.ALL)) == len(paging(pages, Tier.P1)) == 1


def test_each_series_has_its_alarm_and_alarms_of_one_server_and_step_are_one_page():
    calm, high = [50.0, 60.0], [95.0, 95.0]
    present = np.array([[calm, calm]] * 5 + [[high, calm]] * 10)
    past = np.array([[calm, calm]] * 9)
    before, after = parts(past, present, metrics=("cpu_percent", "memory_percent"), servers=("web-1", "web-2"))
    done = entry("static alarms").run(before, after)
    assert [server for server, _ in done.changes] == ["web-1", "web-1"]
    assert len(paging(openings(done.changes), Tier.P1)) == 1


def test_a_large_fleet_is_measured_in_parts():
    servers = tuple(f"web-{number:03d}" for number in range(250))
    present = np.full((9, 250, 1), 50.0)
    present[3:, [7, 123, 249]] = 95.0
    before, after = parts(np.full((9, 250, 1), 50.0), present, servers=servers)
    done = entry("static alarms").run(before, after)
    assert [(server, change.row) for server, change in done.changes] == [(servers[i], i) for i in (7, 123, 249)]


def test_a_server_without_a_training_part_has_fixed_limits_only():
    before, after = parts([np.nan] * 30, [95.0] * 30)
    assert len(entry("static alarms").run(before, after).changes) == 1
    assert entry("mean + 3 sigma").run(before, after).changes == []
    assert entry("EMA + 3 sigma").run(before, after).changes == []


def test_a_rule_knows_nothing_of_the_future_and_scores_what_is_there():
    rng = np.random.default_rng(3)
    past, present = rng.normal(50, 5, (400, 2, 1)), rng.normal(55, 9, (300, 2, 1))
    present[100:110, 1] = np.nan
    for rule in ("static alarms", "mean + 3 sigma", "EMA + 3 sigma", "rolling z-score"):
        detector = entry(rule)
        assert isinstance(detector, Rule)
        whole, cut = (detector.run(*parts(past, present[:n], servers=("a", "b"))) for n in (300, 150))
        early = [each for each in whole.changes if each[1].at < 550 * MINUTE_MS]
        # The rolling sums' last digits depend on how long the series is.
        assert [(s, c.event, c.at) for s, c in cut.changes] == [(s, c.event, c.at) for s, c in early]
        assert np.isnan(whole.trace.severity[:, 1]).sum() == 10
        assert all(a[1].at <= b[1].at for a, b in pairwise(whole.changes))
