"""`treeline doctor` says where a fleet is too small for what its stage lets servers share."""

import pytest

from cli.doctor import after
from cli.doctor.checks import CheckState
from cli.doctor.groups import fleet_level
from stacks.config import stage as config
from treeline.settings import outputs


def stage(least: int):
    return config.load("prod", {"group_size": 20, "detection": {"policy": {"fleet_min_servers": least}}})


@pytest.mark.parametrize(
    ("servers", "state", "told"),
    [
        (0, CheckState.OK, "no server has reported yet"),
        (9, CheckState.TODO, "fleet_min_servers is 10, and no group has more than 9 servers: nothing is taken off"),
        (10, CheckState.OK, "every group has as many"),
        (29, CheckState.OK, "not in the newest group, which has 9"),
        (30, CheckState.OK, "every group has as many"),
        (40, CheckState.OK, "every group has as many"),
    ],
)
def test_a_level_that_no_group_is_large_enough_for_is_told(servers: int, state: CheckState, told: str):
    found = fleet_level(servers, stage(10))
    assert found.state is state
    assert told in found.found
    if state is CheckState.TODO:
        assert f"to {servers} or less" in found.do


def test_more_servers_than_a_group_ever_holds_are_never_there():
    assert fleet_level(500, stage(21)).state is CheckState.TODO


@pytest.mark.parametrize(("least", "asked"), [(0, False), (10, True)])
def test_it_is_asked_where_a_level_is_taken_off_at_all(least: int, asked: bool):
    every = {name: "x" for name in vars(outputs).values() if isinstance(name, str)}
    parts = stage(least).parts
    checks = after.checks(stage(least), lambda service: None, dict.fromkeys(parts, ("CREATE_COMPLETE", every)))
    assert ("fleet level" in [check.what for check in checks]) is asked
