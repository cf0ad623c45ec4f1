"""The table of the promotion's steps: the service gives each of its answers and no other, and every one leads on."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import pytest

from tests.unit.promotion_fakes import HOUR, Walker, World, package
from treeline.app.detect.handover import Pointer
from treeline.app.promote.ports import EndpointView
from treeline.app.promote.protocol import START, TASKS, WAITS, StateName, Step, WaitTimes
from treeline.app.promote.service import PromotionService

ARN = "arn:aws:sagemaker:r:1:model-package/g/m2"
ENDS = {StateName.PROMOTED, StateName.ROLLED_BACK}


@pytest.mark.parametrize("state", TASKS)
def test_a_step_answers_what_its_state_knows(state):
    """mypy holds the service's methods to their types; this holds the types to the table."""
    (literal,) = get_args(get_type_hints(getattr(PromotionService, TASKS[state].step))["return"])
    assert set(get_args(literal)) == set(TASKS[state].answers)


def test_every_step_has_a_state_and_every_state_leads_on():
    assert {task.step for task in TASKS.values()} == set(Step)
    choices = [task.choice for task in TASKS.values() if len(task.answers) > 1]
    assert len({*choices, *StateName}) == len(choices) + len(StateName), "a choice is a state of a name of its own"
    assert TASKS.keys() | WAITS.keys() | ENDS == set(StateName)
    assert {wait.pace for wait in WAITS.values()} == {field.name for field in fields(WaitTimes)}


def test_every_state_can_be_reached():
    reached: set[StateName] = set()
    ahead = {START}
    while ahead:
        state = ahead.pop()
        reached.add(state)
        if state in WAITS:
            ahead |= {WAITS[state].then} - reached
        elif state in TASKS:
            ahead |= {*TASKS[state].answers.values(), TASKS[state].otherwise} - reached
    assert reached == set(StateName)


def fresh() -> World:
    """m1 decides; m2 and m3 are registered."""
    return World(
        endpoint=EndpointView(status="InService", config_name="m1", variants=("m1",)),
        pointer=Pointer(model_version="m1", package_key="m1", target_variant="m1"),
        packages={"m1": package("m1"), "m2": package("m2", mean=2.0), "m3": package("m3", mean=2.0)},
        at=30 * HOUR,
    )


def interrupted(world: World, at: StateName, trouble: Callable[[World], object]) -> World:
    """Walk to a state, let something happen, and go on."""
    Walker(world, package_arn=ARN).walk(stop_at=at)
    trouble(world)
    Walker(world, execution="e2", package_arn=ARN).walk()
    return world


def somebody_updates(world: World) -> None:
    world.endpoint = replace(world.endpoint, config_name="another")
    world.updating = 1


def another_waits_for_its_turn(world: World) -> None:
    world.running = {"e1"}
    Walker(world, execution="e3", package_arn=ARN.replace("m2", "m3")).walk(stop_at="WaitForTurn")
    world.running = set()


SCENARIOS: dict[str, Callable[[], World]] = {
    "a slow endpoint": lambda: interrupted(replace(fresh(), update_takes=1), StateName.PROMOTED, lambda w: None),
    "a first model": lambda: interrupted(replace(fresh(), endpoint=None, pointer=None), StateName.TRIM, lambda w: None),
    "an endpoint in use before it is hosted": lambda: interrupted(fresh(), StateName.HOST, somebody_updates),
    "an endpoint in use before it is trimmed": lambda: interrupted(fresh(), StateName.TRIM, somebody_updates),
    "an update that fails": lambda: interrupted(fresh(), StateName.HOST, lambda w: setattr(w, "update_fails", "no")),
    "a removal that fails": lambda: interrupted(fresh(), StateName.TRIM, lambda w: setattr(w, "update_fails", "no")),
    "a bad model": lambda: interrupted(fresh(), StateName.HOLD_SLICE, lambda w: setattr(w, "pages", 5)),
    "two at once": lambda: interrupted(fresh(), StateName.HOLD_SLICE, another_waits_for_its_turn),
}


def roll_back_stopped() -> World:
    world = fresh()
    Walker(world, package_arn=ARN).walk(stop_at="HoldSlice")
    world.pages = 5
    return interrupted(world, StateName.WAIT_FOR_ROLL_BACK, lambda w: None)


def test_every_answer_is_given_and_no_other():
    given = set().union(*(world().answered for world in [*SCENARIOS.values(), roll_back_stopped]))
    assert given == {(state, answer) for state, task in TASKS.items() for answer in task.answers}
