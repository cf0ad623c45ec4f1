"""The record of a stage's overrides: what a change keeps, what a revert goes back to, what a budget may go by."""

import argparse
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cli import threshold_budget
from cli.overridden_stage import OverriddenStage, Signature
from cli.threshold import signature
from cli.threshold_change import WantedSettings
from cli.threshold_screen import state_of, told
from tests.unit.override_fakes import blind
from tests.unit.paging_fakes import alert
from tests.unit.short_history import trained_package
from treeline.core.errors import UsageError
from treeline.core.times import iso

THREE_OF_FIVE = {"needed": 3, "of_last": 5}
NOW_MS = 1_700_006_400_000


class Entries:
    """The record, in memory."""

    def __init__(self):
        self.kept = {}

    def entry(self, id_):
        return self.kept.get(id_)

    def put(self, entry, *, after):
        assert after == (list(self.kept)[-1] if self.kept else "")
        self.kept[entry.id] = entry


class Stage:
    """A stage that several operators change in turn."""

    def __init__(self, package):
        self.package, self.table = package, Entries()

    @property
    def now(self):
        current = list(self.table.kept.values())[-1] if self.table.kept else None
        return OverriddenStage(package=self.package, current=current, table=self.table)

    def signed(self):
        return Signature(id=f"o{len(self.table.kept) + 1}", by="ann", reason="r", created_ms=NOW_MS)

    def apply(self, **wanted):
        self.now.put(self.now.entry(WantedSettings(source="s", **wanted), self.signed()))
        return self.now.current

    def revert(self, id_=None):
        self.now.put(self.now.back_to(id_, self.signed()))
        return self.now.current


@pytest.fixture
def stage():
    return Stage(trained_package())


def test_a_change_keeps_what_it_does_not_name(stage):
    stage.apply(policy=THREE_OF_FIVE)
    stage.apply(calibration=blind(stage.package.calibration))
    entry = stage.apply(forest={"num_trees": 200}, policy={"quiet_s": 60.0})
    assert entry.calibration == blind(stage.package.calibration).to_json()
    assert (entry.policy, entry.forest) == (THREE_OF_FIVE | {"quiet_s": 60.0}, {"num_trees": 200})


def test_each_revert_goes_one_step_further_back(stage):
    stage.apply(policy=THREE_OF_FIVE)
    stage.apply(calibration=blind(stage.package.calibration))
    back = stage.revert()
    assert (back.policy, back.calibration, back.source) == (THREE_OF_FIVE, {}, "revert to o1")
    back = stage.revert()
    assert (back.policy, back.calibration, back.source) == ({}, {}, "revert to no override")
    assert list(stage.now.differences(stage.now.back_to(None, stage.signed()))) == []


def test_a_revert_to_an_entry_can_itself_be_undone(stage):
    stage.apply(policy=THREE_OF_FIVE)
    stage.apply(policy={"needed": 1, "of_last": 1})
    assert stage.revert("o1").policy == THREE_OF_FIVE
    assert stage.revert().policy == {"needed": 1, "of_last": 1}
    with pytest.raises(UsageError, match="there is no entry 'o9'"):
        stage.revert("o9")
    with pytest.raises(UsageError, match="nothing is overridden"):
        Stage(stage.package).revert()


def test_thresholds_of_a_model_that_is_gone_neither_stay_nor_come_back(stage):
    stage.apply(calibration=blind(stage.package.calibration), policy=THREE_OF_FIVE)
    stage.package = replace(stage.package, model_version="m2")
    assert stage.now.in_force == stage.package.calibration
    assert state_of(stage.now.current, stage.now.current, "m2") == "thresholds ended with model m1; the rest holds"
    assert told(stage.now.current, "m2").startswith("override o1 of ann (r; thresholds, policy): thresholds ended")
    assert stage.apply(forest={"num_trees": 60}).calibration == {}
    back = stage.revert("o1")
    assert (back.calibration, back.policy, back.model_version) == ({}, THREE_OF_FIVE, "m2")


def test_thresholds_that_are_the_model_s_own_override_nothing(stage):
    stage.apply(calibration=blind(stage.package.calibration))
    entry = stage.apply(calibration=stage.package.calibration)
    assert entry.calibration == {}
    assert state_of(entry, entry, "m1") == "nothing is overridden"


@pytest.mark.parametrize("given", [{"by": " ", "reason": "r"}, {"by": "ann", "reason": None}])
def test_nobody_changes_thresholds_without_a_name_and_a_reason(given):
    with pytest.raises(UsageError, match="must be 1 to 1000 characters"):
        signature(argparse.Namespace(**given), NOW_MS)


@pytest.mark.parametrize(
    ("model_version", "scored_ms", "refused"),
    [
        ("m0", NOW_MS, "decided by model m0"),
        ("m1", NOW_MS - 1, "before the thresholds were changed"),
        ("m1", NOW_MS, ""),
    ],
)
def test_a_budget_goes_by_incidents_of_the_thresholds_that_it_raises(
    monkeypatch, stage, model_version, scored_ms, refused
):
    """A severity is on the scale of the thresholds that gave it: others say nothing about them."""
    one = alert()
    clocks = replace(one.clocks, observed_at=iso(NOW_MS - 1000), scored_at=iso(scored_ms))
    one = replace(one, model_version=model_version, clocks=clocks)
    monkeypatch.setattr(threshold_budget, "registered_servers", lambda *_: {"web-1": None})
    deployment = SimpleNamespace(
        stage="s",
        client=lambda _: None,
        output=lambda _: "",
        incidents=SimpleNamespace(between=lambda *_: {one.incident_id: [one]}),
        controls=SimpleNamespace(labels=dict),
    )
    stage.apply(policy=THREE_OF_FIVE)

    def wanted():
        return threshold_budget.of_budget(
            deployment,
            "0 P1 and 0 P2 per server-day",
            days=1.0,
            now_ms=NOW_MS,
            package=stage.package,
            in_force=stage.now.in_force,
            current=stage.now.current,
        )

    if refused:
        with pytest.raises(UsageError, match=refused):
            wanted()
        return
    assert wanted().calibration.to_json() != stage.package.calibration.to_json()
    assert wanted().source == "budget 0 P1 and 0 P2 per server-day on 1 incidents of 1 days"
