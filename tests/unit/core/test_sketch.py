"""The quantile sketch: close to the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from treeline.core.sketch import RELATIVE_ERROR, Sketch

GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
VALUES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0.001, 1e4))


def quantile(sketch: Sketch, share: float) -> float:
    """As whoever reads a stored roll-up takes it: the middle of the bin that holds the value."""
    keys = [key for key, count in sorted(sketch.bins.items()) for _ in range(count)]
    return 2.0 * GAMMA ** keys[int(share * (len(keys) - 1))] / (GAMMA + 1.0)


@settings(max_examples=25)
@given(VALUES, st.floats(0.0, 1.0))
def test_a_quantile_is_within_the_stated_error(values: np.ndarray, share: float):
    exact = np.sort(values)[int(share * (len(values) - 1))]
    assert quantile(Sketch.of(values), share) == pytest.approx(exact, rel=1.01 * RELATIVE_ERROR)


def test_zeros_and_the_wire_format():
    sketch = Sketch.of(np.array([0.0, 0.0, 3.0]))
    assert sorted(sketch.bins.values()) == [1, 2]
    assert Sketch.from_json(sketch.to_json()) == sketch


def test_negative_values_are_refused():
    with pytest.raises(ValueError, match=">= 0"):
        Sketch.of(np.array([-1.0]))
