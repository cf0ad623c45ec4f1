"""What a further profile has no part in yet says so, instead of doing it to the servers' models."""

from argparse import Namespace

import pytest

from cli import model, promotion
from training.evaluate.champion import Champions
from treeline.core.errors import UsageError


def untouched(service: str):
    raise AssertionError(f"{service} is asked")


@pytest.mark.parametrize("command", [promotion.promote_model, promotion.roll_back])
def test_only_models_of_the_profile_that_detect_decides_by_are_promoted(command):
    args = Namespace(stage="prod", profile="services", version="v", hold=None, to="v", json=False)
    with pytest.raises(UsageError, match=r"nothing decides by models of the profile 'services' yet.*'default'"):
        command(args, lambda service: service, lambda part, key: "treeline-prod-default")


@pytest.mark.parametrize("profile", [None, "web"])
def test_the_servers_profile_may_have_another_name(profile):
    args = Namespace(stage="prod", profile=profile)
    assert promotion._group(args, lambda part, key: "treeline-prod-web") == "treeline-prod-web"
    assert model.pipeline_name(args) == f"treeline-prod-{profile or 'default'}"


def test_a_profile_that_nothing_decides_by_has_no_champion():
    champion, why = Champions(untouched, controls_table="", models_bucket="m", group="g").current(("a",))
    assert champion is None
    assert why.startswith("nothing decides by this profile yet")
