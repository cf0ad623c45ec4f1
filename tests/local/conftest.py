"""One synthesis a session; a fresh cloud for every test that asks for a pipeline."""

import socket

import pytest

from local.cloud.launcher import EmbeddedCloud
from tests.local.pipeline import Pipeline, build


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
