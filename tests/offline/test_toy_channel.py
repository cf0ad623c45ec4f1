"""A channel is one module: this one takes ten lines, and training, detection, explanation and old stores take it in."""

from dataclasses import replace

import numpy as np
import pytest

from report.channels import page
from tests.offline.test_explain import MemorySource, stored
from tests.unit.core.examples import position
from tests.unit.detection_fakes import STEP_MS, fleet, trained
from tests.unit.short_history import SERVERS, TRAIN, whole_history
from treeline.app.explain.service import explain
from treeline.core.arrays import ArraySpec, Axis
from treeline.core.channels import registry
from treeline.core.channels.channel import MetricChannel
from treeline.core.detection import detector
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import PolicySettings
from treeline.core.model.handover import hand_over
from treeline.core.model.package import ModelPackage
from treeline.core.severity import Thresholds
from treeline.core.state.fleet import FleetState

COUNT = len(registry.CHANNELS) + 1  # with the toy


class Record(MetricChannel):
    name = "record"
    title = "record highs"
    meaning = "a metric is higher than its highs so far"
    view = "the value, less a slow memory of the highest so far"
    aggregate = "the largest metric"
    can_be_gated = True
    floors = Thresholds(p2=3.0, p1=6.0)
    arrays = (ArraySpec("record_high", "f4", (Axis.METRICS,), 0.5),)

    def magnitude(self, state, at, views):
        return np.maximum(views.value - state.record_high[at], 0.0).max(axis=-1)

    def learn(self, state, at, views, aged_s):
        state.record_high[at] += 0.02 * np.maximum(views.value - state.record_high[at], 0.0)


@pytest.fixture(scope="module")
def before() -> ModelPackage:
    """A package that knows nothing of the toy."""
    return trained(fleet(3, 400))


@pytest.fixture(scope="module", autouse=True)
def registered(before):
    """The toy among the channels, for this module only."""
    shipped = registry.CHANNELS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "CHANNELS", (*shipped, Record()))
        yield
    assert registry.CHANNELS is shipped
    assert not hasattr(FleetState(4), "record_high")


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    past = whole_history()
    return trained(replace(past, times_ms=past.times_ms[:TRAIN], values=past.values[:TRAIN]))


def test_training_seeds_it_finds_its_thresholds_and_brings_it_to_new_servers(package):
    place = position("record")
    assert package.calibration["record"].p2 >= Record.floors.p2
    assert (package.seeds.record_high > 1.0).all()
    assert (package.seeds.channel_mean[:, place] > 0.0).all()
    assert package.seeds.channel_gated.shape == (SERVERS, COUNT)
    assert len(package.typical["channel_mean"]) == COUNT
    assert ModelPackage.from_bytes(package.to_bytes()).to_bytes() == package.to_bytes()


def test_it_opens_an_incident_and_the_explanation_says_so(package):
    """The others' thresholds out of reach: what opens is the toy's alone."""
    far = package.calibration.moved(lambda k: Thresholds(p2=1e3, p1=2e3))
    thresholds = {**far.thresholds, "record": Record.floors}
    alone = replace(package, calibration=Calibration(thresholds=thresholds))
    store = stored(alone, whole_history(), {"memory_percent": 90.0}, batch=SERVERS)
    found = explain(MemorySource(store), store.alerts[0].incident_id, reproduce=True)
    assert found.opening.server_id == "web-03"
    assert (found.calibration["channel"], found.calibration["meaning"]) == ("record", Record.meaning)
    assert found.calibration["measures"]["record"] > Record.floors.p2
    assert found.reproduction.is_equal


def test_what_was_stored_without_it_is_read_and_goes_on(before):
    """The toy begins with its initial values; whatever else was known stays."""
    package = ModelPackage.from_bytes(before.to_bytes())
    state = FleetState.unpack(before.seeds.pack())
    for read in (package.seeds, state):
        assert (read.record_high == 0.5).all()
        assert read.channel_var[:, position("record")].tolist() == [1.0] * 3
        for name, array in before.seeds.arrays().items():
            kept = read.arrays()[name]
            np.testing.assert_array_equal(kept[tuple(map(slice, array.shape))], array, err_msg=name)
    assert package.calibration["record"] == Record.floors
    assert package.calibration["day"] == before.calibration["day"]

    at = int(state.last_at.max()) + STEP_MS
    rows, values = np.arange(3), np.array(state.base_mean, dtype=np.float32)
    (batch,) = detector.rounds(rows, np.full(3, at), values, step_ms=STEP_MS)
    done = detector.prepare(state, batch, step_s=60.0)
    decided = detector.decide(state, done, np.ones(3), package.calibration, PolicySettings(), step_ms=STEP_MS)
    assert np.isfinite(decided.severity).all()
    assert done.features.measures.shape == (3, COUNT)


def test_a_group_is_handed_over_to_the_model_that_knows_it(before, package):
    read = ModelPackage.from_bytes(before.to_bytes())
    state = hand_over(package, FleetState.unpack(before.seeds.pack()), calibration=read.calibration)
    place = position("record")
    np.testing.assert_array_equal(state.channel_mean[:, place], package.seeds.channel_mean[:3, place])


def test_the_page_of_channels_has_it():
    assert f"| `record`: record highs | {Record.meaning} |" in page()
