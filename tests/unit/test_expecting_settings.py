"""The rolling window on its way: from a stage's file to training, and refused where it cannot be."""

from pathlib import Path

import pytest
import yaml

from stacks.config import stage as stage_config
from training.evaluate.experiment import Setup
from treeline.core.errors import SettingsError, UsageError

METRICS = [{"name": f"metric_{i}"} for i in range(39)]


def test_a_stage_chooses_the_window_and_else_has_none():
    chosen = stage_config.load("local", {"detection": {"expectation": "rolling", "rolling_window_s": 7200}})
    assert chosen.detection.trained_window_s == 7200
    assert stage_config.load("local", {"detection": {"rolling_window_s": 7200}}).detection.trained_window_s == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"detection": {"expectation": "z"}}, r"detection\.expectation: must be one of chosen, rolling, got 'z'"),
        ({"detection": {"rolling_window_s": 30}}, r"detection\.rolling_window_s: must be in \[60, 604800\], got 30"),
        (
            {"step_s": 300, "detection": {"expectation": "rolling", "rolling_window_s": 3599}},
            r"detection\.rolling_window_s: must be at least 3600, 12 steps of 300 s, got 3599",
        ),
        (
            {"metrics": METRICS, "detection": {"expectation": "rolling"}},
            r"detection\.expectation: rolling is for 1900 series a group at most, got 50 servers of 39 metrics",
        ),
    ],
)
def test_a_window_that_cannot_be_is_named_before_anything_is_deployed(given: dict[str, object], expected: str):
    with pytest.raises(SettingsError, match=expected):
        stage_config.load("local", given)


@pytest.mark.parametrize(
    "given",
    [
        {"metrics": METRICS[:38], "detection": {"expectation": "rolling"}},
        {"metrics": METRICS, "group_size": 48, "detection": {"expectation": "rolling"}},
        {"metrics": METRICS},
        {"step_s": 300, "detection": {"expectation": "rolling", "rolling_window_s": 3600, "silent_after_s": 900}},
    ],
)
def test_what_keeps_to_the_limits_is_taken(given: dict[str, object]):
    assert stage_config.load("local", given).detection.rolling_window_s == 3600


def test_a_backtest_takes_it_from_the_same_file(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"detection": {"expectation": "rolling", "late_window_s": 60}}))
    assert Setup.read(path).rolling_window_s == 3600
    path.write_text(yaml.safe_dump({"detection": {"expectation": "often"}}))
    with pytest.raises(UsageError, match=r"detection: expectation: must be one of chosen, rolling"):
        Setup.read(path)
