"""One synthesis a session; a fresh cloud for every test that asks for a pipeline; every AWS call is recorded."""

import os
import socket

import pytest

from local.cloud.calls import FOLDER_VARIABLE
from local.cloud.launcher import EmbeddedCloud
from tests.local.pipeline import Pipeline, build


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What judges the recording runs after all that is recorded."""
    items.sort(key=lambda item: item.path.name == "test_recorded_calls.py")


@pytest.fixture(scope="session", autouse=True)
def recording(tmp_path_factory):
    """The folder in which local.cloud.calls notes what functions and state machines call in this session."""
    folder = tmp_path_factory.mktemp("calls")
    os.environ[FOLDER_VARIABLE] = str(folder)
    yield folder
    del os.environ[FOLDER_VARIABLE]


@pytest.fixture(scope="session")
def cloud_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def assembly(tmp_path_factory, cloud_port):
    return build(tmp_path_factory.mktemp("synthesis"), cloud_port)


@pytest.fixture
def pipeline(assembly, cloud_port, tmp_path):
    with EmbeddedCloud(port=cloud_port, directory=tmp_path) as cloud:
        yield Pipeline.start(cloud, assembly)
