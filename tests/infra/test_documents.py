"""Documents that are drawn from or priced with the templates are what the templates say."""

import json
import re

import pytest

from pricing.lines import Prices, UnpricedError, check_types, resource_types
from stacks.retained import retained, told
from tests.infra.diagram import BEGIN, END, PAGE, mermaid
from tests.infra.templates import Stage
from treeline.settings import outputs


def test_the_architecture_page_shows_the_stacks_as_they_are(stage: Stage):
    text = PAGE.read_text(encoding="utf-8")
    shown = text.split(BEGIN)[1].split(END)[0].strip()

    assert shown == mermaid(stage), "draw it anew: make diagram"


def test_every_resource_of_the_stacks_is_priced_or_explicitly_free(stage: Stage, local_stage: Stage):
    for which in (stage, local_stage):
        kinds = resource_types([which.template(part) for part in outputs.PARTS])
        check_types(kinds, Prices.read())


def test_a_new_resource_without_a_price_is_noticed(stage: Stage):
    kinds = resource_types([stage.template(part) for part in outputs.PARTS]) | {"AWS::EC2::NatGateway": 1}

    with pytest.raises(UnpricedError, match="NatGateway"):
        check_types(kinds, Prices.read())


def test_what_a_destruction_leaves_is_named(stage: Stage, local_stage: Stage):
    templates = {part: stage.template(part) for part in outputs.PARTS}
    text = told("prod", templates)

    for kept in ("Observations", "Quarantine", "Models"):
        assert re.search(rf"state: {kept}[0-9A-F]{{8}} ", text), kept
    assert "termination_protection: false" in text
    assert [what for part in outputs.PARTS for what in retained(local_stage.template(part))] == []
    assert "Buckets must be empty" in told("local", {"state": local_stage.template("state")})


def test_what_drifts_and_what_tables_refuse_is_on_a_dashboard(stage: Stage):
    bodies = {key: json.dumps(d["DashboardBody"]) for key, d in stage.resources("AWS::CloudWatch::Dashboard").items()}
    (model,) = (body for key, body in bodies.items() if "Model" in key)
    (cost,) = (body for key, body in bodies.items() if "Cost" in key)

    assert "ScoreDrift" in model
    assert "LevelDrift" in model, "the larger of the two retrains"
    assert "WriteThrottleEvents" in cost


def test_dashboards_call_functions_of_ours_and_parse(stage: Stage):
    for key, dashboard in stage.resources("AWS::CloudWatch::Dashboard").items():
        text = json.dumps(dashboard["DashboardBody"])
        assert len(text) > 500, key
        assert ("Widget" in text) == (("Fleet" in key) or ("Model" in key)), key
