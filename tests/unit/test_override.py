"""What an operator puts over the thresholds, the policy and the forest, and when it counts."""

from dataclasses import replace

import pytest

from tests.unit.detection_fakes import START_MS, STEP_MS, TICK, Store, service
from tests.unit.override_fakes import ENTRY, blind, blinding
from tests.unit.short_history import TEST, TRAIN, trained_package, whole_history
from treeline.app.detect.rules import Rules
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy_settings import PolicySettings

FAULTS = {"web-03": range(20, 40), "web-05": range(60, 80)}


@pytest.fixture(scope="module")
def package():
    return trained_package()


def test_an_override_s_thresholds_stand_in_place_of_its_model_s(package):
    rules = Rules.of(package, PolicySettings(), blinding(package.calibration))
    assert rules.calibration == blind(package.calibration)
    assert rules.override == "o1"


def test_thresholds_end_with_their_model_and_the_policy_stays(package):
    """A promoted model measures on a scale of its own; how often something must be seen is no model's matter."""
    ended = blinding(package.calibration, model_version="m0", policy={"needed": 3, "of_last": 5})
    rules = Rules.of(package, PolicySettings(), ended)
    assert rules.calibration == package.calibration
    assert (rules.policy.needed, rules.policy.of_last) == (3, 5)
    assert rules.override == "o1", "the policy is its"
    assert Rules.of(package, PolicySettings(), replace(ended, policy={})).override == ""


def test_what_an_override_does_not_name_is_the_stage_s(package):
    stage = PolicySettings(needed=1, of_last=2, quiet_s=60.0)
    assert Rules.of(package, stage, replace(ENTRY, policy={"quiet_s": 5.0})).policy == replace(stage, quiet_s=5.0)
    assert Rules.of(package, stage, ENTRY) == Rules.of(package, stage) == Rules.of(package, stage, None)


def test_the_next_tick_decides_by_an_override_and_the_one_after_its_revert_as_before(package):
    """web-03 goes wrong while nothing may open, web-05 after the revert; each block names what decided it."""
    whole, store, current = whole_history(), Store(package), []
    detect = replace(service(store), override=lambda: current[-1] if current else None)
    values = whole.values[TRAIN:].copy()
    for server, steps in FAULTS.items():
        values[steps.start : steps.stop, whole.servers.index(server), 1] += 90.0
    for step in range(TEST):
        if step in (10, 50):
            current.append(blinding(package.calibration) if step == 10 else replace(ENTRY, id="o2"))
        for column, server in enumerate(whole.servers):
            store.add(server, START_MS + (TRAIN + step) * STEP_MS, values[step, column])
        detect.run(TICK)
    assert {a.server_id for a in store.alerts if a.event is AlertEvent.OPENED} == {"web-05"}
    decided_by = [ScoreBlock.unpack(block.pack()).override for block in store.blocks.values()]
    assert decided_by == [*[""] * 10, *["o1"] * 40, *[""] * (TEST - 50)]
