"""Start, use and end the embedded cloud from a Python process."""

import json
import os
import select
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from emulator.controls import Faults, LambdaControl, PagerDutyReceiver, SageMakerControl
from emulator.deployment.deploy import DeployReport, deploy
from emulator.loopback.clients import clients_of
from emulator.loopback.environment import client_environment
from emulator.permissions.calls import note_resources
from treeline.core.errors import TreelineError, UsageError

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_PORT = 4566
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CloudError(TreelineError):
    """The embedded cloud did not start, went away, or refused an administrative request."""


class CloudConnection:
    """A running embedded cloud seen from outside: clients, deploys, faults and what it received."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url  # where it listens, e.g. http://127.0.0.1:4566
        self.sagemaker = SageMakerControl(self.admin)
        self.pagerduty = PagerDutyReceiver(self.admin, endpoint_url)
        self.functions = LambdaControl(self.admin)
        self.faults = Faults(self.admin)
        self.client = clients_of(endpoint_url)  # boto3 clients by service

    def environment(self) -> dict[str, str]:
        """Variables for a child process whose AWS SDK shall talk to this cloud."""
        return client_environment(self.endpoint_url)

    def deploy(self, assembly: Path, parameters: Mapping[str, str] | None = None) -> DeployReport:
        """Deploy every stack of a synthesized cloud assembly; see emulator.deployment.deploy.deploy."""
        report = deploy(self.client, Path(assembly), parameters or {})
        note_resources(self.client, report.outputs)
        return report

    def logs(self, function: str, limit: int = 10_000) -> list[str]:
        """The last log lines of a function, oldest first; several invocations may interleave."""
        lines: list[str] = self.admin("GET", f"logs?function={function}&limit={limit}")["lines"]
        return lines

    def status(self) -> dict[str, Any]:
        """Process figures and counters: invocations, errors, records delivered, messages, memory."""
        return self.admin("GET", "status")

    def admin(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One administrative request to the launcher process; JSON in and out."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint_url}/_treeline/{path}", data=data, method=method)  # noqa: S310
        try:
            with _OPENER.open(request, timeout=30) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            raise CloudError(f"the embedded cloud refused {path}: {error.read().decode()[:500]}") from error
        except OSError as error:
            raise CloudError(f"no embedded cloud answers at {self.endpoint_url}: {error}") from error


class EmbeddedCloud(CloudConnection):
    """The embedded cloud as a context manager; what it starts ends with it, however this process ends.

    Args:
        port: TCP port on loopback; 0 takes a free one.
        directory: Where its log (cloud.log) goes; a temporary folder when None.

    Raises:
        UsageError: On entry, when the port is taken.
        CloudError: On entry, when it does not come up; the message ends with its log.
    """

    def __init__(self, port: int = 0, directory: Path | None = None) -> None:
        self._port = port
        self._temporary = tempfile.TemporaryDirectory(prefix="treeline-cloud-") if directory is None else None
        self.directory = Path(self._temporary.name) if self._temporary else Path(directory or ".")
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"http://127.0.0.1:{port}")

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it and everything it started."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id of the launcher while it runs."""
        return self._process.pid if self._process else None

    @property
    def log_path(self) -> Path:
        """What the emulator wrote to stderr."""
        return self.directory / "cloud.log"

    def start(self) -> None:
        """Start the launcher process; returns when every service answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        options = ["--port", str(self._port), "--directory", str(self.directory)]
        environment = os.environ | {"PYTHONPATH": path}
        # ministack is 230,000 lines: compiling it anew at each start, and each worker's imports, takes seconds.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", "emulator.serve", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is the parent's to handle; the pipe tells this one
            )
        answer = self._first_line()
        if "error" in answer:
            self.stop()
            raise UsageError(f"cannot start the embedded cloud: {answer['error']}")
        super().__init__(f"http://127.0.0.1:{answer['port']}")

    def _first_line(self) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdout is None:
            raise CloudError("the embedded cloud is not running")
        ready, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT_S)
        line = process.stdout.readline() if ready else b""
        if not line:
            self.stop()
            tail = self.log_path.read_text(errors="replace")[-2000:]
            raise CloudError(f"the embedded cloud did not come up; its log ends:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process; safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(timeout=_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._temporary is not None:
            self._temporary.cleanup()
