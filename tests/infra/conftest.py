"""One synthesis a session: `prod`, as `cdk synth` would make it, checked by cdk-nag and the CDK's own rules."""

import shutil
from pathlib import Path

import pytest

from stacks.constructs.function_asset import ROOT
from stacks.synthesize import synthesize
from tests.infra.templates import Stage


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are now: who edits while the tests run does not change them halfway."""
    root: Path = tmp_path_factory.mktemp("checkout")
    for name in ("treeline", "lambdas", "stacks", "config", "requirements"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "cdk.json"):
        shutil.copyfile(ROOT / name, root / name)
    (ROOT / "build").mkdir(exist_ok=True)
    (root / "build").symlink_to(ROOT / "build")  # the wheels are fetched once, not once a session
    return root


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    """The production stage with arm64 wheels."""
    folder: Path = tmp_path_factory.mktemp("assembly")
    return Stage("prod", synthesize(folder, "prod", validate=True, root=checkout))


@pytest.fixture(scope="session")
def local_stage(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    """The stage of the embedded cloud."""
    folder: Path = tmp_path_factory.mktemp("assembly-local")
    return Stage("local", synthesize(folder, "local", asset_platform="host", root=checkout))
