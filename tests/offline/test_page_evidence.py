"""What pages show of a generated fleet: each has a metric outside its band, and no band holds what cannot be."""

import numpy as np
import pytest

from demo.fleet.generate import generate
from demo.fleet.plan import FleetPlan
from report.backtest.entries import page_entries
from report.backtest.evidence import evidence_at
from report.traces import DECLARED, server_trace
from training.evaluate.experiment import Setup, run_experiment
from training.history.files import open_history
from treeline.core.alert import AlertEvent
from treeline.core.detection.evidence import shown_band


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = FleetPlan(servers=16, days=8, step_s=300, seed=7, incidents_per_server_week=1.5)
    made = generate(plan, tmp_path_factory.mktemp("fleet"))
    history = open_history(made.data_path, incidents_path=made.incidents_path)
    outcome, _, _ = run_experiment(history, Setup(), with_bands=True)
    return history, outcome


def test_every_opening_shows_a_metric_outside_a_band_at_the_observation_that_decided(run):
    _, outcome = run
    grid, trace = outcome.grid, outcome.backtest.trace
    told = [
        (server, change.at)
        for server, change in outcome.backtest.changes
        if server in grid.servers and change.event in (AlertEvent.OPENED, AlertEvent.ESCALATED)
    ]
    assert len(told) >= 8
    for server, at in told:
        row = int(np.searchsorted(grid.times_ms, at))
        shown = evidence_at(grid, trace, grid.servers.index(server), row)
        assert shown[0].is_outside, (server, at)
        outside = [metric.is_outside for metric in shown]
        assert outside == sorted(outside, reverse=True)  # those come first


def test_every_page_of_the_list_names_a_metric_outside_its_band(run):
    entries = page_entries(*run)
    assert entries
    assert all(entry.cause.metrics[0].is_outside for entry in entries if entry.cause.metrics_at_ms is not None)
    assert {", at " in entry.why for entry in entries} == {True}


def test_no_band_holds_a_value_that_cannot_be(run):
    """No negative CPU and none above 100 %, of what is expected and of what the other metrics imply."""
    _, outcome = run
    grid, bands = outcome.grid, outcome.backtest.trace.bands
    for value, spread in ((bands.expected, bands.spread), (bands.implied, bands.implied_spread)):
        shown = np.stack(shown_band(value, spread, grid.metrics, DECLARED))
        known = ~np.isnan(shown[0])
        assert known.mean() > 0.9
        for place, name in enumerate(grid.metrics):
            own = shown[..., place][:, known[..., place]]
            assert own.min() >= DECLARED[name].minimum
            assert own.max() <= DECLARED[name].maximum
            middle, low, high = own
            assert ((low <= middle) & (middle <= high)).all()


def test_the_chart_draws_the_band_that_the_page_names(run):
    _, outcome = run
    grid, trace = outcome.grid, outcome.backtest.trace
    drawn = server_trace(grid, trace, 3)
    row = len(grid.times_ms) // 2
    for metric in evidence_at(grid, trace, 3, row):
        place = grid.metrics.index(metric.name)
        chart = drawn.expected[row, place], drawn.low[row, place], drawn.high[row, place]
        assert chart == pytest.approx((metric.expected, metric.low, metric.high), rel=1e-5)
