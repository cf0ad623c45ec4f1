"""Every function can be put together from the environment that its template gives it."""

import importlib

import pytest

from tests.infra.templates import Stage


def test_functions_are_wired_from_what_they_are_deployed_with(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """No call to AWS is made: what is missing or misspelt would fail at every cold start."""
    handlers = [f["Handler"].split(".")[1] for f in stage.resources("AWS::Lambda::Function").values() if "Handler" in f]
    for name in handlers:
        with monkeypatch.context() as environment:
            environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
            for variable, value in stage.function(name)["Environment"]["Variables"].items():
                is_text = isinstance(value, str)  # else a reference to another resource
                environment.setenv(variable, value if is_text else "arn:aws:sns:eu-west-1:123456789012:resource")
            wired = importlib.import_module(f"treeline.wiring.{name}").wired
            wired.cache_clear()
            assert wired() is wired(), name
            wired.cache_clear()
    assert len(handlers) > 10
