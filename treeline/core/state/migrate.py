"""From what an earlier version stored to what today's code works with.

An array that the stored state lacks takes its initial values, and those of the model's training as soon as the model is
there (`ModelPackage.attach`); one that the layout no longer has is dropped, and values along an axis of channels go by
channel name. So a new array or channel needs an initial value and nothing else. Only where stored values have to become
others is a *step* needed, with a format number of its own.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from treeline.core.arrays import Array, ArraySpec, Axis
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation import season
from treeline.core.state.codec import FORMAT, StoredState
from treeline.core.state.layout import Layout


def _name_arrays(stored: StoredState) -> StoredState:
    """2 -> 3: the head names the arrays; the values are the same."""
    return StoredState({**stored.head, "format": 3, **stored.layout.to_json()}, stored.layout, stored.arrays)


def _begin_expectation(stored: StoredState) -> StoredState:
    """3 -> 4: the trailing day becomes what is expected; there is a seasonal table, of which nothing is stored yet."""
    arrays = stored.arrays
    is_warming = (arrays["phase"] == 0)[:, None]
    begun = {
        "trailing_mean": arrays["day_mean"].copy(),
        "trailing_var": arrays["day_var"].copy(),
        # Of a server that warms up it counts each metric's values, which format 3 did in the mean of its first view.
        "trend_mean": np.where(is_warming, arrays["view_mean"][:, 0], arrays["day_mean"]),
    }
    specs = (ArraySpec(name, "f4", (Axis.METRICS,)) for name in begun)
    layout = replace(stored.layout, arrays=(*stored.layout.arrays, *specs))
    head = {**stored.head, "format": 4, "table": [""] * season.BLOCKS, **layout.to_json()}
    return StoredState(head, layout, arrays | begun)


STEPS: dict[int, Callable[[StoredState], StoredState]] = {2: _name_arrays, 3: _begin_expectation}


def migrated(stored: StoredState, layout: Layout) -> StoredState:
    """A stored state in today's format and a layout.

    Args:
        stored: Of any format that the codec reads.
        layout: The one to come to.

    Returns:
        A state that shares the arrays that stayed as they were.

    Raises:
        ModelMismatchError: An array has another shape than it had: that needs a step.
    """
    for found in range(stored.head["format"], FORMAT):
        stored = STEPS[found](stored)
    if stored.layout == layout:
        return stored
    known = {spec.name: spec for spec in stored.layout.arrays}
    rows, metrics = len(stored.head["servers"]), stored.head["metrics"]
    arrays = {}
    for spec in layout.arrays:
        if known.get(spec.name) == spec and layout.names_along(spec) == stored.layout.names_along(spec):
            arrays[spec.name] = stored.arrays[spec.name]
            continue
        arrays[spec.name] = blank = layout.blank(spec, rows, metrics)
        if spec.name in known:
            if known[spec.name].axes != spec.axes:
                raise ModelMismatchError(
                    f"detector state has {spec.name!r} along {known[spec.name].axes}, this code along {spec.axes}: "
                    "a step of treeline.core.state.migrate is missing"
                )
            fill(blank, stored.arrays[spec.name], spec, stored.layout, layout)
    return StoredState({**stored.head, **layout.to_json()}, layout, arrays, frozenset(arrays.keys() - known.keys()))


def fill(target: Array, source: Array, spec: ArraySpec, source_layout: Layout, layout: Layout) -> None:
    """Write an array's values into one of another layout: whole, or by channel name what both have."""
    names, source_names = layout.names_along(spec), source_layout.names_along(spec)
    if not names:
        target[...] = source
        return
    axis = 1 + next(i for i, axis in enumerate(spec.axes) if axis in (Axis.CHANNELS, Axis.EVERY_CHANNEL))
    here, there = np.moveaxis(target, axis, 0), np.moveaxis(source, axis, 0)
    for place, channel in enumerate(names):
        if channel in source_names:
            here[place] = there[source_names.index(channel)]
