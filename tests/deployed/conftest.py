"""One synthesis a worker; a fresh cloud for every test that asks for a pipeline; every AWS call is recorded."""

import json
import os
import random
import socket

import pytest

from cli.main import run
from emulator.launcher import EmbeddedCloud
from emulator.permissions.calls import FOLDER_VARIABLE
from tests.deployed.pipeline import Model, Pipeline, build
from tests.deployed.session import Ended

JUDGE = "test_recorded_calls.py"
# Below the range from which the kernel takes the ports of outgoing connections: nobody takes ours between two clouds.
PORTS = range(21_000, 32_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What judges the recording runs after all that is recorded."""
    items.sort(key=lambda item: item.path.name == JUDGE)


@pytest.fixture(scope="session", autouse=True)
def recording(request, tmp_path_factory):
    """The folder, one for all workers, in which `emulator.permissions` notes what functions and state machines call."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "calls"
    folder.mkdir(exist_ok=True)
    request.config.pluginmanager.register(Ended(folder))
    os.environ[FOLDER_VARIABLE] = str(folder)
    yield folder
    del os.environ[FOLDER_VARIABLE]


@pytest.fixture(scope="session")
def cloud_port():
    """A free port of this worker's, the same for each of its clouds: templates name it."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


@pytest.fixture(scope="session")
def assembly(tmp_path_factory, cloud_port):
    return build(tmp_path_factory.mktemp("synthesis"), cloud_port)


@pytest.fixture(scope="session")
def model():
    """What the first pipeline of this worker trains and the later ones host."""
    return Model()


@pytest.fixture
def pipeline(assembly, cloud_port, model, tmp_path):
    with EmbeddedCloud(port=cloud_port, directory=tmp_path) as cloud:
        yield Pipeline.start(cloud, assembly, model)


@pytest.fixture
def command(pipeline: Pipeline, capsys):
    """Runs a command of ours against the pipeline; its exit code and its JSON."""
    port = pipeline.deployment.cloud.endpoint_url.rsplit(":", 1)[1]

    def call(*words: str):
        capsys.readouterr()
        code = run([*words, "--stage", "local", "--port", port, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call
