"""The embedded cloud ends with its parent, however that ends, and says so when its port is taken."""

# ruff: noqa: S603 -- only our own commands are run
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.launcher import CloudConnection, CloudError, EmbeddedCloud
from tests.emulator.conftest import wait_for
from treeline.core.errors import UsageError

pytestmark = pytest.mark.cloud
ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import sys, time
from emulator.launcher import EmbeddedCloud
from tests.emulator.small_stack import write_assembly
from pathlib import Path
with EmbeddedCloud(directory=Path(sys.argv[1]) / "cloud") as cloud:
    cloud.deploy(write_assembly(Path(sys.argv[1]) / "assembly"))
    cloud.client("lambda").invoke(FunctionName="small-queue", Payload=b'{"Records": []}')
    print(cloud.endpoint_url, cloud.pid, flush=True)
    time.sleep(60)
"""


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    tasks = Path(f"/proc/{pid}/task").glob("*/children") if listed.exists() else []
    return [int(child) for task in tasks for child in task.read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_the_cloud_and_its_workers_end_with_the_parent(tmp_path, end):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    url, pid = parent.stdout.readline().split()
    workers = _children(int(pid))
    assert workers
    os.kill(parent.pid, end)
    parent.wait()
    wait_for(lambda: not any(_alive(p) for p in (int(pid), *workers)))
    with pytest.raises(CloudError):
        CloudConnection(url).status()
    assert not list((tmp_path / "cloud").glob("tmp-*"))


def test_a_busy_port_is_one_clear_line(tmp_path):
    with EmbeddedCloud(directory=tmp_path) as cloud:
        port = int(cloud.endpoint_url.rsplit(":", 1)[1])
        with pytest.raises(UsageError, match=rf"port {port} on 127\.0\.0\.1 is not free"):
            EmbeddedCloud(port).start()
        assert cloud.status()["pid"] == cloud.pid


def test_nothing_listens_beyond_loopback(tmp_path):
    with EmbeddedCloud(directory=tmp_path) as cloud:
        sockets = {os.readlink(f) for f in Path(f"/proc/{cloud.pid}/fd").iterdir() if f.is_symlink()}
        inodes = {s[8:-1] for s in sockets if s.startswith("socket:")}
        rows = [line.split() for f in ("tcp", "tcp6") for line in Path(f"/proc/net/{f}").read_text().splitlines()[1:]]
        listening = [row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]
        assert listening == ["0100007F"]


def test_local_up_status_and_down_find_each_other():
    run = [sys.executable, "-c", "import sys; from cli.main import main; sys.argv[0] = 'treeline'; main()", "local"]
    up = subprocess.Popen([*run, "up", "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        state = json.loads(up.stdout.readline())
        port = str(state["port"])
        status = json.loads(subprocess.check_output([*run, "status", "--port", port, "--json"], cwd=ROOT))
        assert (status["running"], status["pid"]) == (True, up.pid)
        assert json.loads(subprocess.check_output([*run, "down", "--port", port, "--json"], cwd=ROOT)) == {
            "stopped": True
        }
        assert up.wait(120) == 0
        assert (
            subprocess.run([*run, "status", "--port", port], cwd=ROOT, capture_output=True, check=False).returncode == 1
        )
        with pytest.raises(CloudError, match="no embedded cloud answers"):
            CloudConnection(state["endpoint_url"]).status()
    finally:
        up.kill()
