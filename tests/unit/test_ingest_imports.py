"""A cold start pays for every import, so the functions that need no numbers in bulk load no numpy either."""

import subprocess
import sys

import pytest

HEAVY = {"pandas", "scipy", "numba", "aws_cdk", "pyarrow", "sklearn", "rich", "local", "training", "stacks"}
LIGHT = (
    "ingest",
    "dispatch",
    "reprocess",
    "notify_pagerduty",
    "approval",
    "start_training",
    "training_ended",
    "widget_incidents",
    "widget_model",
)
PROBE = "import sys, lambdas.{}.handler; print(*sorted(m for m in sys.modules if '.' not in m))"


def loaded(function: str) -> set[str]:
    """The top-level modules in a fresh interpreter after importing a handler, which must not need a setting."""
    command = [sys.executable, "-c", PROBE.format(function)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": "."})  # noqa: S603  our own interpreter
    return set(answer.stdout.split())


@pytest.mark.parametrize("function", LIGHT)
def test_a_hot_handler_imports_nothing_heavy(function):
    assert loaded(function) & (HEAVY | {"numpy"}) == set()


def test_detect_imports_numpy_and_nothing_heavier():
    assert loaded("detect") & HEAVY == set()
