import math
from itertools import pairwise

import pytest

from tests.unit.history.fleets import METRICS, NOW_MS, plan_of, server
from training.history.cloudwatch.plan import HOUR_MS, FetchPlan, cost, make_plan, still_served
from training.history.cloudwatch.quotas import DAY_S, QUOTAS, TIERS, FetchLimits
from treeline.core.errors import UsageError

DAY_MS = DAY_S * 1000


def test_tiers_are_those_of_cloudwatch():
    assert [(t.period_s, t.reach_s // DAY_S) for t in TIERS] == [(60, 15), (300, 63), (3600, 455)]


def test_every_server_and_moment_is_in_exactly_one_chunk():
    plan = plan_of([server(n) for n in range(13)], days=182)
    for position in range(13):
        own = sorted((c.start_ms, c.end_ms) for c in plan.chunks if c.first <= position < c.last)
        assert own[0][0] == plan.start_ms
        assert own[-1][1] == plan.end_ms
        assert all(before[1] == after[0] for before, after in pairwise(own))


def test_no_call_breaks_a_limit_or_asks_finer_than_what_is_kept():
    plan = plan_of([server(n) for n in range(300)], days=182)
    for chunk in plan.chunks:
        assert plan.queries(chunk) <= QUOTAS.queries_per_call
        assert plan.points(chunk) <= QUOTAS.points_per_call
        assert still_served(chunk, NOW_MS + 5 * HOUR_MS) == chunk  # the fetch itself takes time
        assert chunk.start_ms % HOUR_MS == 0


def test_calls_are_nearly_as_full_as_they_may_be():
    plan = plan_of([server(n) for n in range(500)], days=182)
    taking = cost(plan, plan.chunks, limits=FetchLimits())
    assert taking.calls <= 1.06 * math.ceil(taking.points / QUOTAS.points_per_call)


def test_cost_counts_points_per_tier_and_bills_each_metric_of_each_call():
    plan = plan_of([server(0)], days=20)
    taking = cost(plan, plan.chunks, limits=FetchLimits())
    minutes = sum((c.end_ms - c.start_ms) // 60_000 for c in plan.chunks if c.period_s == 60)
    fives = sum((c.end_ms - c.start_ms) // 300_000 for c in plan.chunks if c.period_s == 300)
    assert taking.points == 2 * (minutes + fives)
    assert taking.queries == 2 * len(plan.chunks)
    assert taking.dollars == pytest.approx(taking.queries * 0.01 / 1000)
    assert taking.expected_s >= taking.floor_s


def test_a_call_of_the_last_three_hours_counts_against_the_smaller_quota():
    plan = make_plan([server(0)], METRICS, start_ms=NOW_MS - HOUR_MS, end_ms=NOW_MS, now_ms=NOW_MS)
    taking = cost(plan, plan.chunks, limits=FetchLimits())
    assert taking.recent_points == taking.points > 0
    assert taking.floor_s == pytest.approx(max(taking.points / 180_000, taking.calls / 50))


def test_servers_with_basic_monitoring_are_asked_every_five_minutes_and_apart():
    plan = plan_of([server(0), server(1, step_s=300)], days=3)
    periods = {plan.servers[c.first].server_id: plan.period_s(c) for c in plan.chunks}
    assert periods == {"i-000": 60, "i-001": 300}


def test_a_server_without_series_is_kept_and_asked_nothing():
    plan = plan_of([server(0), server(1, columns=())])
    assert plan.servers[-1].missing == METRICS
    assert all(c.last <= 1 for c in plan.chunks)


def test_what_has_aged_is_asked_for_at_the_next_tier_and_then_given_up():
    plan = plan_of([server(0)], days=10)
    chunk = plan.chunks[0]
    assert still_served(chunk, NOW_MS).period_s == 60
    assert still_served(chunk, NOW_MS + 6 * DAY_MS).period_s == 300
    assert still_served(chunk, NOW_MS + 60 * DAY_MS).period_s == 3600
    assert still_served(chunk, NOW_MS + 460 * DAY_MS) is None


def test_a_plan_survives_being_written_down():
    plan = plan_of([server(0), server(1, columns=(1,))])
    assert FetchPlan.from_json(plan.to_json()) == plan
    with pytest.raises(UsageError, match="plan anew"):
        FetchPlan.from_json({**plan.to_json(), "format": 0})


def test_a_range_beyond_all_retention_is_refused():
    with pytest.raises(UsageError, match="CloudWatch keeps data from"):
        make_plan([server(0)], METRICS, start_ms=NOW_MS - 600 * DAY_MS, end_ms=NOW_MS - 500 * DAY_MS, now_ms=NOW_MS)
