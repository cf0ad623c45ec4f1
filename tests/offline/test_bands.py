"""Do shown bands hold, and does every opening show its reason: counted by hand on two servers of two metrics."""

from dataclasses import replace

import numpy as np
import pytest

from report.quality_table import band_markdown
from training.evaluate.bands import BandQuality, judge_bands
from training.evaluate.pages import Opening
from training.history.grid import Grid
from training.history.labels import FLEET, MINUTE_MS, Label, Protocol
from treeline.core.detection.evidence import Bands
from treeline.core.profile import Metric

TIMES = MINUTE_MS * np.arange(60)
PROTOCOL = Protocol(margin_ms=10 * MINUTE_MS)
DECLARED = (Metric(name="cpu", minimum=0.0, maximum=100.0), Metric(name="load"))


def fleet():
    """Every value is 5, and 5 is expected; a band reaches three spreads to either side, 2 to 8."""
    shape = (len(TIMES), 2, 2)
    values = np.full(shape, 5.0, dtype=np.float32)
    grid = Grid(TIMES, ("web-1", "web-2"), ("cpu", "load"), values, 60.0, metric_declarations=DECLARED)
    bands = Bands.blank(shape)
    bands.expected[:], bands.spread[:] = 5.0, 1.0
    return grid, bands


def opening(minute, server="web-1"):
    return Opening(server_id=server, at_ms=minute * MINUTE_MS, priority="P1")


def test_normal_values_outside_their_band_are_counted_metric_by_metric():
    grid, bands = fleet()
    grid.values[3, 0] = 9.0, 8.0  # beyond the edge, and on it
    grid.values[4, 1] = 1.0, 20.0
    grid.values[5, 1, 0] = np.nan
    bands.spread[6, 1, 1] = 0.0  # no band yet
    found = judge_bands(grid, bands, [], [], PROTOCOL)
    assert (found.normal, found.outside) == (2 * 2 * 60 - 2, 3)
    assert found.outside_share == pytest.approx(3 / 238)


def test_what_is_labelled_is_not_normal_nor_is_what_lies_beside_it():
    grid, bands = fleet()
    grid.values[:, 0, 0] = 9.0
    label = Label(server_id="web-1", start_ms=20 * MINUTE_MS, end_ms=29 * MINUTE_MS)
    found = judge_bands(grid, bands, [], [label], PROTOCOL)
    assert (found.normal, found.outside) == (2 * 2 * 60 - 2 * 30, 30)


def test_an_opening_is_unexplained_where_no_metric_is_outside_either_band():
    grid, bands = fleet()
    bands.implied[:], bands.implied_spread[:] = 5.0, 1.0
    grid.values[3, 0, 0] = 9.0  # of another server than the second opening's
    bands.implied[8, 1, 1] = 9.0  # 5 where the other metrics imply 9
    told = [opening(3), opening(3, "web-2"), opening(8, "web-2"), opening(9), opening(3, FLEET)]
    found = judge_bands(grid, bands, told, [], PROTOCOL)
    assert (found.openings, found.unexplained) == (4, 2)
    assert found.faults == ("2 of 4 openings show no metric outside its band",)


def test_what_counts_is_the_band_as_it_is_shown(monkeypatch):
    grid, bands = fleet()
    bands.expected[:] = 1.0  # less three spreads: below 0, which CPU cannot be
    assert judge_bands(grid, bands, [], [], PROTOCOL).impossible == 0
    monkeypatch.setattr("training.evaluate.bands.shown_band", lambda middle, spread, *_: (middle, middle - 3, middle))
    assert judge_bands(grid, bands, [], [], PROTOCOL).impossible == 2 * 60  # of CPU, each server and minute


@pytest.mark.parametrize("edge", [np.inf, -np.inf])
def test_an_edge_that_is_not_finite_is_impossible(edge):
    grid, bands = fleet()
    bands.expected[7, 0, 1] = edge
    found = judge_bands(grid, bands, [], [], PROTOCOL)
    assert found.impossible == 1
    assert found.faults == ("1 bands have an edge that the metric cannot have",)


def test_fleets_add_up_and_a_share_of_nothing_is_none():
    some = BandQuality(normal=100, outside=3, openings=2, unexplained=0, impossible=0)
    both = some + replace(some, normal=300, outside=1)
    assert (both.normal, both.outside, both.openings) == (400, 4, 4)
    assert both.to_json()["outside_share"] == 0.01
    assert both.faults == ()
    assert replace(some, normal=0, outside=0).outside_share is None
    assert band_markdown({"asd": both}).splitlines()[-1] == "| asd | 400 | 1.0 % | 4 | 0 | 0 |"
