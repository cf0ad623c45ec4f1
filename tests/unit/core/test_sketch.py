"""The quantile sketch: close to the truth, and the same however it was put together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from treeline.core.sketch import RELATIVE_ERROR, Sketch

VALUES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0.001, 1e4))


@settings(max_examples=25)
@given(VALUES, st.floats(0.0, 1.0))
def test_a_quantile_is_within_the_stated_error(values: np.ndarray, share: float):
    exact = np.sort(values)[int(share * (len(values) - 1))]
    assert Sketch.of(values).quantile(share) == pytest.approx(exact, rel=1.01 * RELATIVE_ERROR)


@settings(max_examples=25)
@given(VALUES, VALUES)
def test_merged_sketches_are_the_sketch_of_both_samples(a: np.ndarray, b: np.ndarray):
    assert Sketch.of(a).merge(Sketch.of(b)) == Sketch.of(np.concatenate([a, b]))


def test_zeros_nothing_and_the_wire_format():
    sketch = Sketch.of(np.array([0.0, 0.0, 3.0]))
    assert sketch.quantile(0.5) == 0.0
    assert np.isnan(Sketch().quantile(0.5))
    assert Sketch.from_json(sketch.to_json()) == sketch


def test_negative_values_are_refused():
    with pytest.raises(ValueError, match=">= 0"):
        Sketch.of(np.array([-1.0]))
