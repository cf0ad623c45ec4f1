"""The promotion's decisions, walked through the very state machine that is deployed."""

import pytest

from tests.unit.promotion_fakes import HOUR, SERVERS, Walker, World, package
from treeline.app.detect.handover import Pointer
from treeline.app.promote.approval import approved_arn, execution_name, promote_approved
from treeline.app.promote.ports import EndpointView
from treeline.app.promote.progress import PromotionError, PromotionStage
from treeline.app.promote.protocol import Answer, Reply, WaitTimes
from treeline.app.promote.service import reason_of, variant_name
from treeline.core.times import iso

ARN = "arn:aws:sagemaker:r:1:model-package/g/m2"


@pytest.fixture
def world():
    """m1 decides; m2 is registered."""
    return World(
        endpoint=EndpointView(status="InService", config_name="m1", variants=("m1",)),
        pointer=Pointer(model_version="m1", package_key="m1", target_variant="m1"),
        packages={"m1": package("m1"), "m2": package("m2", mean=2.0)},
        at=30 * HOUR,
    )


def steps(world: World) -> list[str]:
    return [step for step, _ in world.told if step != "slice"]


def test_a_good_model_is_held_24_hours_and_takes_over(world):
    assert Walker(world, package_arn=ARN).walk() == "Promoted"
    assert world.pointer.model_version == "m2"
    assert world.pointer.previous_version == "m1"
    assert len(world.progress.verdicts) == 24
    assert world.endpoint.variants == ("m2",)
    assert world.canary is None
    assert world.settled == ["m2"]
    assert world.remembered["m2"].model_name == "model-m2", "a roll-back to it needs no registry"
    assert steps(world) == ["started", "canary", "cut_over", "done"]
    assert f"on 2 of {len(SERVERS)} servers" in world.told[1][1]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"bias": 0.2}, "score_shift"),
        ({"errors": 50}, "errors"),
        ({"pages": 5}, "page_rate"),
        ({"bias": -0.2}, "score_shift"),
    ],
)
def test_a_bad_model_is_rolled_back_before_its_day_is_over(world, trouble, reason):
    Walker(world, package_arn=ARN).walk(stop_at="HoldSlice")
    for name, value in trouble.items():
        setattr(world, name, value)
    assert Walker(world, package_arn=ARN).walk() == "RolledBack"
    assert world.pointer.model_version == "m1"
    assert world.endpoint.variants == ("m1",)
    assert world.canary is None
    assert world.progress.stage is PromotionStage.ROLLED_BACK
    assert world.settled == ["m1"]
    assert reason in world.progress.reason
    assert len(world.progress.verdicts) < 24


def test_a_candidate_that_never_decides_is_not_promoted(world):
    world.candidate_at = 0
    assert Walker(world, package_arn=ARN).walk() == "RolledBack"
    assert "too few observations" in world.progress.reason


def test_a_candidate_behind_in_a_backlog_is_waited_for(world):
    """The champion catches up hours in one tick; judged before the candidate's turn, a slice would pass unseen."""
    walker = Walker(world, package_arn=ARN)
    walker.walk(stop_at="HoldSlice")
    begun = world.candidate_at = world.at
    world.at += 3 * HOUR
    assert walker.service.judge("e1") == Reply(Answer.HOLD, {"slices": 0})
    world.now_ms += 100_000
    assert walker.service.judge("e1") == Reply(Answer.HOLD, {"slices": 0})
    world.candidate_at = begun + HOUR // 2
    world.now_ms += 100_000
    assert walker.service.judge("e1") == Reply(Answer.HOLD, {"slices": 0}), "it gets on"
    world.candidate_at = None
    assert walker.service.judge("e1") == Reply(Answer.HOLD, {"slices": 3})
    assert all(verdict["has_evidence"] for verdict in world.progress.verdicts)


def test_a_fleet_that_falls_silent_promotes_nothing(world):
    walker = Walker(world, package_arn=ARN)
    walker.walk(stop_at="HoldSlice")
    world.at -= 10**9
    world.now_ms += 201 * HOUR
    why = "the fleet's time did not get to the canary's end"
    assert walker.service.judge("e1") == Reply(Answer.ROLL_BACK, {"reason": why})


def test_the_first_model_is_hosted_alone_and_needs_no_canary(world):
    world.endpoint = world.pointer = None
    assert Walker(world, package_arn=ARN).walk() == "Promoted"
    assert world.pointer.model_version == "m2"
    assert steps(world) == ["started", "cut_over", "done"]


def test_an_endpoint_that_does_not_take_the_update_leaves_the_champion(world):
    world.update_fails = "image cannot be pulled"
    assert Walker(world, package_arn=ARN).walk() == "RolledBack"
    assert world.pointer.model_version == "m1"
    assert world.endpoint.variants == ("m1",)
    assert "image cannot be pulled" in world.progress.reason


def test_a_first_endpoint_that_never_came_up_is_made_anew(world):
    world.endpoint, world.pointer = EndpointView(status="Failed", config_name="x"), None
    assert Walker(world, package_arn=ARN).walk() == "Promoted"
    assert world.endpoint.variants == ("m2",)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda w: w.missing.add("m2"), "no model data"),
        (lambda w: w.packages.pop("m2"), "no model package"),
        (lambda w: w.packages.update(m2=package("m9")), "its package says m9"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_touched(world, break_it, said):
    break_it(world)
    assert Walker(world, package_arn=ARN).walk() == "RolledBack"
    assert world.updates == 0
    assert world.progress is None
    assert [step for step, _ in world.told] == ["refused"]
    assert said in world.told[0][1]


@pytest.mark.parametrize(
    "state", ["Host", "CheckEndpoint", "StartCanary", "HoldSlice", "JudgeSlices", "CutOver", "Trim", "Finish"]
)
def test_an_execution_stopped_anywhere_is_finished_by_the_next(world, state):
    Walker(world, package_arn=ARN).walk(stop_at=state)
    assert Walker(world, execution="e2", package_arn=ARN).walk() == "Promoted"
    assert world.pointer.model_version == "m2"
    assert world.endpoint.variants == ("m2",)
    assert len(world.progress.verdicts) == 24
    assert [step for step in steps(world) if step != "resumed"] == ["started", "canary", "cut_over", "done"]


@pytest.mark.parametrize("state", ["StartCanary", "JudgeSlices", "CutOver", "Trim"])
def test_every_step_may_be_repeated(world, state):
    Walker(world, package_arn=ARN).walk(stop_at=state)
    again = Walker(world, package_arn=ARN)
    assert again.walk() == "Promoted"
    assert len(world.progress.verdicts) == 24


def test_people_hear_of_a_repeated_step_once(world):
    Walker(world, package_arn=ARN).walk(stop_at="Trim")
    heard = list(world.told)
    assert Walker(world).service.cut_over("e1") == Reply(Answer.TRIM)
    assert world.told == heard


def test_people_hear_of_a_repeated_roll_back_once(world):
    Walker(world, package_arn=ARN).walk(stop_at="HoldSlice")
    world.pages = 5
    Walker(world, package_arn=ARN).walk()
    heard = list(world.told)
    assert Walker(world).service.finish_roll_back("e1") == Reply(Answer.ROLLED_BACK)
    assert world.told == heard


def test_a_candidate_whose_endpoint_is_gone_is_rolled_back(world):
    Walker(world, package_arn=ARN).walk(stop_at="CheckEndpoint")
    world.endpoint = None
    assert Walker(world).service.check("e1") == Reply(Answer.ROLL_BACK, {"reason": "the endpoint is gone"})


def test_the_canary_of_an_execution_that_was_stopped_ends_with_the_next_model(world):
    world.packages["m3"] = package("m3", mean=2.0)
    Walker(world, package_arn=ARN).walk(stop_at="HoldSlice")
    Walker(world, execution="e2", package_arn=ARN.replace("m2", "m3")).walk(stop_at="Host")
    assert world.canary is None


def test_a_second_promotion_waits_for_the_first(world):
    world.packages["m3"] = package("m3", mean=2.0)
    Walker(world, package_arn=ARN).walk(stop_at="HoldSlice")
    world.running = {"e1"}
    other = Walker(world, execution="e2", package_arn=ARN.replace("m2", "m3"))
    assert other.walk(stop_at="WaitForTurn") == "WaitForTurn"
    assert world.progress.candidate.model_version == "m2"
    world.running = set()
    assert other.walk() == "Promoted"
    assert world.pointer.model_version == "m3"
    assert world.endpoint.variants == ("m3",)


def test_people_hear_what_becomes_of_a_model(world):
    Walker(world, package_arn=ARN).walk()
    assert [said for said in world.told if said[0] != "slice"] == [
        ("started", "Model m2 has passed its checks"),
        ("canary", "Model m2 decides beside m1 on 2 of 20 servers"),
        ("cut_over", "Model m2 takes over from m1"),
        ("done", "Model m2 is the only model now"),
    ]
    assert world.told[2] == ("slice", "Model m2 slice 1 passed")
    assert [details["stage"] for details in world.details] == ["prepared", *["canary"] * 25, "cut_over", "done"]
    assert {(details["model_version"], details["execution"]) for details in world.details} == {("m2", "e1")}
    assert (world.details[1]["servers"], world.details[1]["since"]) == (2, iso(31 * HOUR))
    assert world.details[2]["verdict"] == world.progress.verdicts[0]


def test_people_hear_why_a_model_is_rolled_back(world):
    """The reason of the step that decided it, in the log of the promotion as in what is told."""
    Walker(world, package_arn=ARN).walk(stop_at="HoldSlice")
    world.pages = 5
    Walker(world, package_arn=ARN).walk()
    why = "slice 1 breached its limits: page_rate 6"
    assert world.progress.reason == why
    assert world.told[-3:] == [
        ("slice", "Model m2 slice 1 failed"),
        ("rolling_back", f"Model m2 {why}"),
        ("rolled_back", f"Model m2 {why}"),
    ]


def test_a_roll_back_that_was_stopped_is_finished_with_its_first_reason(world):
    Walker(world, package_arn=ARN).walk(stop_at="HoldSlice")
    world.pages = 5
    Walker(world, package_arn=ARN).walk(stop_at="WaitForRollBack")
    again = Walker(world, execution="e2", package_arn=ARN)
    why = {"reason": "slice 1 breached its limits: page_rate 6"}
    assert again.service.prepare("e2", again.request) == Reply(Answer.ROLL_BACK, why)
    again.walk()
    assert world.progress.stage is PromotionStage.ROLLED_BACK
    assert world.progress.reason == "slice 1 breached its limits: page_rate 6"
    assert steps(world)[-3:] == ["rolling_back", "resumed", "rolled_back"]
    assert ("resumed", "Model m2 goes on after canary") in world.told


def test_a_step_that_fails_rolls_back_and_says_its_error(world):
    Walker(world, package_arn=ARN).walk(stop_at="CutOver")

    def refuse(wanted: Pointer) -> Pointer:
        raise PromotionError("somebody pointed elsewhere meanwhile")

    world.point_at = refuse
    assert Walker(world, package_arn=ARN).walk() == "RolledBack"
    assert world.progress.reason == "somebody pointed elsewhere meanwhile"
    assert world.told[-1] == ("rolled_back", "Model m2 somebody pointed elsewhere meanwhile")


def test_a_refused_promotion_says_why(world):
    world.missing.add("m2")
    Walker(world, package_arn=ARN).walk()
    assert world.told == [("refused", "A promotion was refused: no model data at u")]
    assert world.details == [{"reason": "no model data at u"}]
    refused = Reply(Answer.FINISH_ROLL_BACK, {"reason": "no"})
    assert Walker(world).service.roll_back("e1", "no") == refused


def test_a_new_model_stays_where_the_old_variant_cannot_be_removed(world):
    Walker(world, package_arn=ARN).walk(stop_at="Trim")
    world.update_fails = "no capacity"
    assert Walker(world, package_arn=ARN).walk() == "RolledBack"
    assert world.pointer.model_version == "m2"
    assert world.progress.stage is PromotionStage.DONE
    why = "the endpoint did not take the configuration: no capacity"
    assert world.told[-2:] == [
        ("rolling_back", f"Model m2 {why}"),
        ("unfinished", f"Model m2 is active, but the old variant could not be removed: {why}"),
    ]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"result": {"next": "roll_back", "reason": "bad"}, "error": {"Cause": "later"}}, "bad"),
        ({"result": {"next": "hold"}, "error": {"Error": "E", "Cause": '{"errorMessage": "no model"}'}}, "no model"),
        ({"error": {"Error": "States.Runtime", "Cause": "no JSON"}}, "no JSON"),
        ({"error": {"Error": "States.Timeout"}}, "States.Timeout"),
        ({"result": {"next": "perhaps"}}, "a step answered 'perhaps', which its execution does not know"),
    ],
)  # fmt: skip
def test_the_reason_is_found_in_the_executions_data(state, why):
    assert reason_of(state) == why


def test_a_canary_ended_by_hand_is_rolled_back(world):
    walker = Walker(world, package_arn=ARN)
    walker.walk(stop_at="HoldSlice")
    world.end_canary()
    assert walker.service.judge("e1") == Reply(Answer.ROLL_BACK, {"reason": "the canary was ended by hand"})


def test_a_model_that_takes_over_though_its_scores_are_off_says_so(world):
    """An hour of two servers is too little to call .7 of a standard deviation a fault, and nobody looked longer."""
    world.bias = 0.14
    assert Walker(world, package_arn=ARN, hold_s=3600).walk() == "Promoted"
    told = dict(world.told)
    noise = "; score_shift 0.7 is beyond its limit, but within the noise of so few observations (0.82)"
    assert told["slice"] == f"Model m2 slice 1 passed{noise}"
    assert told["cut_over"] == f"Model m2 takes over from m1{noise}"


def test_back_by_hand_takes_no_canary(world):
    Walker(world, package_arn=ARN).walk()
    world.remembered["m1"] = world.candidate("g/m1")
    assert Walker(world, execution="e2", model_version="m1", hold_s=0).walk() == "Promoted"
    assert world.pointer.model_version == "m1"
    assert world.endpoint.variants == ("m1",)


def test_the_active_model_is_not_promoted_again(world):
    assert Walker(world, package_arn=ARN.replace("m2", "m1")).walk() == "Promoted"
    assert world.updates == 0


def test_the_active_model_is_hosted_again_where_its_endpoint_is_gone(world):
    """Deleted by hand, or the scorer was embedded until now; there is nothing to compare it with."""
    world.endpoint = None
    assert Walker(world, package_arn=ARN.replace("m2", "m1")).walk() == "Promoted"
    assert world.endpoint.variants == ("m1",)
    assert (world.pointer.model_version, world.pointer.previous_version) == ("m1", "")
    assert "canary" not in steps(world)


class Workflow:
    def __init__(self) -> None:
        self.names: list[str] = []

    def start(self, name, request):
        if name in self.names:
            return None
        self.names.append(name)
        return f"arn:{name}"


def approval(status: str = "Approved") -> dict:
    return {"detail": {"ModelApprovalStatus": status, "ModelPackageArn": ARN}}


def test_an_approval_told_again_starts_nothing_again():
    workflow = Workflow()
    told = [promote_approved(approval(), workflow, WaitTimes()) for _ in range(3)]
    assert [t.execution is not None for t in told] == [True, False, False]
    assert promote_approved(approval("Rejected"), workflow, WaitTimes()) is None
    assert approved_arn({}) is None


def test_names_keep_to_the_services_limits():
    assert len(execution_name("arn:aws:sagemaker:r:1:model-package/" + "x" * 200 + "/1")) <= 80
    assert execution_name(ARN) != execution_name(ARN, 2)
    assert variant_name("treeline_prod/2026-11-23T01:02:03Z") == "treeline-prod-2026-11-23T01-02-03Z"
    assert len(variant_name("-" + "v" * 100)) == 63
