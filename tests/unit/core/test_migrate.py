"""A stored state becomes one of another layout: what is new begins anew, the rest stays, by name."""

from dataclasses import replace

import numpy as np
import pytest

from treeline.core.arrays import ArraySpec, Axis
from treeline.core.errors import ModelMismatchError
from treeline.core.state import format_2
from treeline.core.state.codec import FORMAT, StoredState
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import Layout, todays_layout
from treeline.core.state.migrate import STEPS, migrated

LAYOUT = todays_layout()
TOY = ArraySpec("toy", "f4", (Axis.CHANNELS, Axis.METRICS), 7.5)


def with_array(spec: ArraySpec, layout: Layout = LAYOUT) -> Layout:
    return replace(layout, arrays=(*layout.arrays, spec))


def numbered(layout: Layout = LAYOUT) -> FleetState:
    """Three servers of two metrics, every element another number."""
    state = FleetState(2, servers=["a", "b", "c"], version=5, layout=layout)
    for array in state.arrays().values():
        array[...] = np.arange(array.size).reshape(array.shape)
    return state


def assert_same(state: FleetState, other: FleetState, *, but: str = "") -> None:
    for spec in LAYOUT.arrays:
        if spec.name != but:
            np.testing.assert_array_equal(state.arrays()[spec.name], other.arrays()[spec.name], err_msg=spec.name)


def test_adding_an_array_needs_an_initial_value_and_nothing_else():
    old = numbered()
    state = FleetState.unpack(old.pack(), with_array(TOY))

    assert state.toy.shape == (3, len(LAYOUT.channels), 2)
    assert (state.toy == 7.5).all()
    assert (state.servers, state.version, state.cycle) == (old.servers, old.version, old.cycle)
    assert_same(state, old)
    assert FleetState.unpack(state.pack(), with_array(TOY)).pack() == state.pack()


def test_an_array_that_no_layout_names_any_more_is_dropped():
    newer = numbered(with_array(TOY))
    state = FleetState.unpack(newer.pack())

    assert "toy" not in state.arrays()
    assert_same(state, newer)


def test_the_order_of_the_arrays_is_the_stored_states_own():
    turned = numbered(replace(LAYOUT, arrays=LAYOUT.arrays[::-1]))
    state = FleetState.unpack(turned.pack())

    assert list(state.arrays()) == [spec.name for spec in LAYOUT.arrays]
    assert_same(state, turned)


def test_a_channel_goes_by_its_name():
    """A new one takes the initial values, a removed one goes, the others may stand in another order."""
    first, *others = LAYOUT.channels
    old = numbered(with_array(TOY))
    layout = replace(with_array(TOY), channels=("new", *others[::-1]))

    state = FleetState.unpack(old.pack(), layout)

    assert (state.toy[:, 0] == 7.5).all()
    assert (state.channel_floor[:, 0] == np.float32(0.2)).all()
    np.testing.assert_array_equal(state.toy[:, 1:], old.toy[:, :0:-1])
    np.testing.assert_array_equal(state.channel_mean[:, 1:], old.channel_mean[:, :0:-1])
    np.testing.assert_array_equal(state.recent, old.recent)
    assert first not in state.layout.channels


def test_a_wider_number_is_the_same_number():
    spec = next(spec for spec in LAYOUT.arrays if spec.name == "severity")
    arrays = tuple(replace(s, dtype="f8") if s is spec else s for s in LAYOUT.arrays)
    state = FleetState.unpack(numbered().pack(), replace(LAYOUT, arrays=arrays))

    assert state.severity.dtype == np.float64
    assert state.severity.tolist() == [0.0, 1.0, 2.0]


def test_another_shape_needs_a_step():
    arrays = tuple(replace(s, axes=(12, Axis.METRICS)) if s.name == "recent" else s for s in LAYOUT.arrays)
    with pytest.raises(ModelMismatchError, match=r"'recent'.*a step of treeline.core.state.migrate is missing"):
        FleetState.unpack(numbered().pack(), replace(LAYOUT, arrays=arrays))


def test_every_older_format_has_its_step():
    assert sorted(STEPS) == list(range(2, FORMAT))


def of_format_2() -> StoredState:
    """Four servers, of which the last warms up; every element of an array of numbers is another one."""
    servers = ["a", "b", "c", "d"]
    arrays = {spec.name: format_2.LAYOUT.blank(spec, len(servers), 2) for spec in format_2.LAYOUT.arrays}
    for name in ("day_mean", "day_var", "view_mean"):
        arrays[name][...] = np.arange(arrays[name].size).reshape(arrays[name].shape) / 7
    arrays["phase"][:3] = Phase.READY
    head = {"format": 2, "metrics": 2, "version": 5, "activation": 0, "servers": servers, "cycle": {}}
    return StoredState(head, format_2.LAYOUT, arrays)


def test_a_migrated_state_says_todays_format():
    assert migrated(of_format_2(), todays_layout()).head["format"] == FORMAT


def test_what_is_expected_begins_with_the_trailing_day_of_an_older_state():
    """An updated fleet knows what its servers did yesterday; one that warms up has not forgotten how long."""
    old = of_format_2()
    state = FleetState.of_stored(old)
    np.testing.assert_array_equal(state.trailing_mean, old.arrays["day_mean"])
    np.testing.assert_array_equal(state.trailing_var, old.arrays["day_var"])
    np.testing.assert_array_equal(state.trend_mean[:3], old.arrays["day_mean"][:3])
    np.testing.assert_array_equal(state.trend_mean[3], old.arrays["view_mean"][3, 0])
    state.trailing_mean[:] = 0.0
    assert state.day_mean.any(), "two arrays, not one under two names"


def test_nothing_to_do_copies_nothing():
    stored = StoredState.from_bytes(numbered().pack())
    assert migrated(stored, LAYOUT) is stored


def test_a_state_of_another_layout_stays_one():
    """Copies, parts, joined parts, and what goes to another process."""
    import pickle

    state = numbered(with_array(TOY))
    whole = FleetState.joined([state.part(slice(0, 1)), state.part(slice(1, 3))])
    for other in (state.copy(), whole, pickle.loads(pickle.dumps(state))):  # noqa: S301 - our own
        np.testing.assert_array_equal(other.toy, state.toy)
        assert other.layout == state.layout
