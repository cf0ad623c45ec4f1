"""How rare a measure is in words, and what a server's own earlier peaks kept from a tier."""

from dataclasses import replace

import numpy as np
import pytest

from treeline.app.explain.rarity import HeldBack, how_rare
from treeline.app.explain.server_replay import Replayed
from treeline.core.channels import registry
from treeline.core.detection.calibration import Calibrated
from treeline.core.severity import Thresholds


@pytest.mark.parametrize(
    ("rarity", "said"),
    [
        (-1.0, "as seen about 10 times a server-week"),
        (0.0, "as seen about once a server-week"),
        (2.0, "as seen about once in 100 server-weeks"),
        (2.5, "as seen about once in 320 server-weeks"),
        (4.1, "as seen less than once in 10,000 server-weeks"),
    ],
)
def test_rarity_reads_as_how_often(rarity, said):
    assert how_rare(rarity) == said


def test_a_decade_more_of_the_measure_is_a_decade_rarer():
    thresholds = Thresholds(p2=2.0, p1=2.5, decade=0.5, rarity_at_zero=-2.0)
    assert thresholds.rarity(2.0) == pytest.approx(2.0)
    assert thresholds.rarity(2.5) == pytest.approx(3.0)
    assert Thresholds(p2=2.0, p1=2.5).rarity(2.0) is None


def step(held):
    names = [channel.name for channel in registry.every_channel()]
    measures = np.zeros((1, len(names)))
    measures[0, names.index("relation")] = 5.0
    peaks = np.zeros(len(names))
    peaks[names.index("relation")] = 6.5
    calibrated = Calibrated(
        severity=np.array([1.2]),
        without_novelty=np.array([3.4]),
        held=np.array([names.index("relation") if held else -1]),
        measures=measures,
        threshold=np.array([1.0]),
        channel=np.array([0]),
    )
    return Replayed(at=0, features=np.zeros(8, np.float32), calibrated=calibrated, peaks=peaks)


def test_what_was_held_back_is_named_with_its_reason():
    found = HeldBack.of(step(held=True))
    assert str(found) == (
        "held back: relation 5 would mean severity 3.40, but the server itself reached 6.5 in earlier hours: "
        "nothing new"
    )
    assert found.to_json()["severity"] == pytest.approx(3.4)


def test_where_nothing_was_held_back_nothing_is_said():
    assert HeldBack.of(step(held=False)) is None
    assert HeldBack.of(replace(step(held=True), calibrated=None)) is None
