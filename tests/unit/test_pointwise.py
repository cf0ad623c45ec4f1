"""Point-wise figures by hand, and VUS-PR by whichever library is there."""

import sys
import types

import numpy as np
import pytest

from training.evaluate.pointwise import VUS_MISSING, average_precision, inside_labels, judge_points
from training.history.labels import Label

TIMES = np.arange(10, dtype=np.int64) * 1000


def test_average_precision_by_hand():
    inside = np.array([True, False, True, False])
    assert average_precision(inside, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(inside, np.array([2.0, 1.0, 2.0, 1.0])) == 1.0
    assert average_precision(~inside & False, np.ones(4)) is None


def test_equal_scores_count_as_one_step_in_any_order():
    assert average_precision(np.array([True, False, False]), np.ones(3)) == pytest.approx(1 / 3)
    assert average_precision(np.array([False, False, True]), np.ones(3)) == pytest.approx(1 / 3)


def test_labels_include_their_borders():
    inside = inside_labels(TIMES, [Label(server_id="a", start_ms=2000, end_ms=4000)])
    assert np.flatnonzero(inside).tolist() == [2, 3, 4]


def judged():
    severity = np.zeros((10, 2))
    severity[2:5, 0] = 5.0
    severity[:3, 1] = np.nan
    return judge_points(TIMES, ("a", "b"), severity, [Label(server_id="a", start_ms=2000, end_ms=4000)])


def test_points_without_a_severity_are_left_out():
    points = judged()
    assert points.positives == pytest.approx(3 / 17)
    assert points.auc_pr == 1.0
    assert points.by_server == {"a": 1.0}


def test_without_a_library_the_missing_figure_is_said(monkeypatch):
    for name in ("TSB_AD.evaluation.basic_metrics", "vus.metrics"):
        monkeypatch.setitem(sys.modules, name, None)
    points = judged()
    assert (points.vus_pr, points.note) == (None, VUS_MISSING)


def test_with_a_library_it_is_asked_for_each_labelled_server(monkeypatch):
    asked = []
    library = types.ModuleType("TSB_AD.evaluation.basic_metrics")
    library.generate_curve = lambda label, score, window, version, thre: asked.append(label) or (0, 0, 0.9, 0.7)
    for name in ("TSB_AD", "TSB_AD.evaluation"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, library.__name__, library)
    assert judged().vus_pr == 0.7
    assert [a.tolist() for a in asked] == [[0, 0, 1, 1, 1, 0, 0, 0, 0, 0]]
