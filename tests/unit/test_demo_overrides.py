"""Stage settings on the demo's command line."""

import pytest

from cli import learn as learning
from cli.main import run
from demo.cloud import detection, settings
from demo.learn.fleet import LearnPlan
from demo.learn.run import Story
from demo.overrides import overrides
from treeline.core.errors import SettingsError, UsageError
from treeline.core.profile import DEFAULT_METRICS


def test_settings_are_nested_by_their_dots_and_merged():
    given = ["stream.batching_window_s=5", "detection.policy.needed=3", "stream.shards=2", "paging=shadow"]
    assert overrides(given) == {
        "stream": {"batching_window_s": 5, "shards": 2},
        "detection": {"policy": {"needed": 3}},
        "paging": "shadow",
    }


def test_what_a_run_needs_stays_where_it_is_not_changed():
    """One shard keeps the servers' numbers the same; changing its neighbour must not bring the second one back."""
    assert settings(DEFAULT_METRICS, overrides(["stream.batching_window_s=5"]))["stream"] == {
        "shards": 1,
        "batching_window_s": 5,
    }


def test_what_runs_beside_the_stacks_goes_by_the_same_settings():
    """A demo's model is trained beside the deployed pipeline, and its history is run once more without a cloud."""
    given = ["detection.expectation=rolling", "detection.timezone=Asia/Tokyo", "detection.policy.quiet_s=60"]
    found = detection(DEFAULT_METRICS, overrides(given))
    assert (found.trained_window_s, found.timezone, found.policy.quiet_s) == (3600, "Asia/Tokyo", 60)
    with pytest.raises(SettingsError, match="expectation"):
        detection(DEFAULT_METRICS, overrides(["detection.expectation=often"]))


@pytest.mark.parametrize("setting", ["stream", "=5", "stream..shards=1", "stream.shards=[1"])
def test_anything_else_is_refused_in_one_line(setting: str):
    with pytest.raises(UsageError, match="--set"):
        overrides([setting])


def test_the_learning_story_takes_settings_too(monkeypatch: pytest.MonkeyPatch):
    played: list[LearnPlan] = []

    def play(plan: LearnPlan, screen: object) -> Story:
        played.append(plan)
        return Story(ok=True)

    monkeypatch.setattr(learning, "learn", play)
    assert run(["demo", "--learn", "--set", "scorer=embedded"]) == 0
    assert [plan.overrides for plan in played] == [{"scorer": "embedded"}]
