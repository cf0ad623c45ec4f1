"""One synthesis a session: `prod`, as `cdk synth` would make it, checked by cdk-nag and the CDK's own rules."""

from pathlib import Path

import pytest

from stacks.synthesize import synthesize
from tests.infra.templates import Stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests on one worker of xdist (`--dist loadgroup`): each worker would synthesize for itself."""
    for item in items:
        if "tests/infra" in item.path.as_posix():
            item.add_marker(pytest.mark.xdist_group("infra"))


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The production stage with arm64 wheels."""
    folder: Path = tmp_path_factory.mktemp("assembly")
    return Stage("prod", synthesize(folder, "prod", validate=True))


@pytest.fixture(scope="session")
def local_stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The stage of the embedded cloud."""
    folder: Path = tmp_path_factory.mktemp("assembly-local")
    return Stage("local", synthesize(folder, "local", asset_platform="host"))
