"""One fixed scale: continuous, monotone, and the same points on it for every channel."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from treeline.core.errors import SettingsError
from treeline.core.severity import Thresholds


@st.composite
def thresholds(draw):
    p2 = draw(st.floats(0.01, 100))
    return Thresholds(p2=p2, p1=p2 + draw(st.floats(0.01, 100)))


@pytest.mark.parametrize(
    ("measure", "severity"), [(-3.0, 0.0), (0.0, 0.0), (3.5, 0.75), (7.0, 1.5), (7.5, 2.25), (8.0, 3.0), (16.0, 6.0)]
)
def test_the_default_score_channel_by_hand(measure, severity):
    assert Thresholds(p2=7.0, p1=8.0).severity(np.array([measure])).item() == pytest.approx(severity)


@FEW
@given(thresholds())
def test_every_channel_meets_the_scale_at_the_same_points(k):
    at = k.severity(np.array([-1.0, 0.0, k.p2, k.p1, 2 * k.p1]))
    np.testing.assert_allclose(at, [0.0, 0.0, 1.5, 3.0, 6.0], rtol=1e-9)


@FEW
@given(thresholds())
def test_severity_is_continuous_where_its_pieces_meet(k):
    for knot in (0.0, k.p2, k.p1):
        below, above = k.severity(np.array([np.nextafter(knot, -1e9), np.nextafter(knot, 1e9)]))
        assert below == pytest.approx(above, abs=1e-6)


@FEW
@given(thresholds(), st.lists(st.floats(-1e4, 1e4), min_size=2))
def test_a_larger_measure_is_never_less_severe(k, measures):
    severity = k.severity(np.sort(np.array(measures)))
    assert (np.diff(severity) >= -1e-9).all()
    assert (severity >= 0).all()


@pytest.mark.parametrize(("p2", "p1"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 2.0), (3.0, 2.0), (math.nan, 1.0)])
def test_thresholds_out_of_order_are_refused(p2, p1):
    with pytest.raises(SettingsError, match="0 < p2 < p1"):
        Thresholds(p2=p2, p1=p1)
