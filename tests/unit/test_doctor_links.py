"""`treeline doctor` asks whether a page's links lead anywhere."""

from dataclasses import replace

from cli.doctor.before import page_links
from cli.doctor.checks import CheckState
from stacks.config import stage as config


def test_links_as_shipped_are_something_to_do():
    finding = page_links(config.load("prod"))

    assert finding.state is CheckState.TODO
    assert "detection.runbook_url and detection.dashboard_url in config/prod.yaml" in finding.do


def test_one_that_is_set_is_not_asked_for_again():
    stage = config.load("prod")
    half = replace(stage, detection=replace(stage.detection, runbook_url="https://wiki.example/runbooks"))
    both = replace(half, detection=replace(half.detection, dashboard_url="https://console.example/fleet"))

    assert "runbook_url" not in page_links(half).do
    assert page_links(both).state is CheckState.OK
