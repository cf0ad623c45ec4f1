"""Processing jobs: the container's command as a process of this machine, its inputs and outputs moved to and from S3.

There is no container engine: a command that begins with `python` runs with this interpreter, from the checkout, and
every `/opt/ml/processing` in its arguments is a temporary folder instead.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emulator.loopback.environment import process_environment
from emulator.sagemaker.errors import validation
from emulator.sagemaker.jobs import Jobs
from emulator.sagemaker.s3_urls import bucket_and_key, keys_below
from emulator.sagemaker.store import Resource

ROOT = Path(__file__).resolve().parents[2]
CONTAINER_FOLDER = "/opt/ml/processing"
MESSAGE_VARIABLE = "TREELINE_EXIT_MESSAGE_FILE"  # the container's /opt/ml/output/message
STATE_CHANGE = "SageMaker Processing Job State Change"
_EXIT_MESSAGE_LIMIT = 1024


class ProcessingJobs(Jobs):
    """Create, describe, list and stop processing jobs."""

    noun = "Processing"

    def create(self, request: Resource) -> Resource:
        """Start a job; an image without an entrypoint of the request's own is refused."""
        if not request["AppSpecification"].get("ContainerEntrypoint"):
            raise validation("The embedded cloud runs no image: AppSpecification.ContainerEntrypoint is required.")
        return self.start(request)

    def to_stopping(self, name: str) -> None:
        """Note that a job has been asked to stop."""
        self.store.change(name, ProcessingJobStatus="Stopping")

    def run(self, name: str, job: Resource) -> None:
        """Bring the inputs, run the command, take the outputs."""
        self.store.change(name, ProcessingStartTime=time.time())
        try:
            with tempfile.TemporaryDirectory(prefix="treeline-processing-") as folder:
                reason, message = self._work(name, job, Path(folder))
        except Exception as error:  # noqa: BLE001 -- whatever went wrong is the job's failure reason
            reason, message = f"ClientError: {type(error).__name__}: {error}", ""
        status = "Failed" if reason else "Completed"
        if self.status(name) == "Stopping":
            status = "Stopped"
        ended: Resource = {"ProcessingEndTime": time.time(), "ProcessingJobStatus": status}
        if status == "Failed":
            ended |= {"FailureReason": reason, "ExitMessage": message[:_EXIT_MESSAGE_LIMIT]}
        self.store.change(name, **ended)
        done = self.store.get(name)
        self.announce(STATE_CHANGE, done["ProcessingJobArn"], done)

    def _work(self, name: str, job: Resource, folder: Path) -> tuple[str, str]:
        """Failure reason and exit message, both empty after success."""
        work = folder / "processing"
        for source in job.get("ProcessingInputs", []):
            self._download(source["S3Input"], work)
        outputs = job.get("ProcessingOutputConfig", {}).get("Outputs", [])
        for output in outputs:
            _within(work, output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
        app = job["AppSpecification"]
        message_file = folder / "message"
        command = [
            part.replace(CONTAINER_FOLDER, str(work))
            for part in [*app["ContainerEntrypoint"], *app.get("ContainerArguments", [])]
        ]
        if command[0] in ("python", "python3"):
            command[0] = sys.executable
        environment = {
            **process_environment(self.endpoint_url),
            "PYTHONPATH": str(ROOT),
            MESSAGE_VARIABLE: str(message_file),
            **job.get("Environment", {}),
        }
        process = self.process(
            name, command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        if process.returncode != 0:
            message = (
                message_file.read_text() if message_file.is_file() else process.stdout.strip()[-_EXIT_MESSAGE_LIMIT:]
            )
            return "AlgorithmError: See job logs for more information", message
        for output in outputs:
            self._upload(output["S3Output"], work)
        return "", ""

    def _download(self, source: Resource, work: Path) -> None:
        bucket, prefix = bucket_and_key(source["S3Uri"])
        s3 = self.clients("s3")
        target = _within(work, source["LocalPath"])
        target.mkdir(parents=True, exist_ok=True)
        keys = keys_below(s3, bucket, prefix)
        if not keys:
            raise ValueError(f"No S3 objects found under S3 URL {source['S3Uri']}")
        folder = prefix if prefix.endswith("/") or not prefix else prefix.rpartition("/")[0] + "/"
        if prefix and not prefix.endswith("/") and all(key.startswith(prefix + "/") for key in keys):
            folder = prefix + "/"
        for key in keys:
            path = target / key.removeprefix(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def _upload(self, output: Resource, work: Path) -> None:
        bucket, prefix = bucket_and_key(output["S3Uri"])
        root = _within(work, output["LocalPath"])
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            key = "/".join(part for part in (prefix.strip("/"), path.relative_to(root).as_posix()) if part)
            self.clients("s3").put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def _within(work: Path, container_path: str) -> Path:
    """The folder of this machine for a folder of the container; raises ValueError outside of /opt/ml/processing."""
    if not container_path.startswith(CONTAINER_FOLDER + "/"):
        raise ValueError(f"LocalPath must be below {CONTAINER_FOLDER}, got {container_path}")
    relative = os.path.normpath(container_path.removeprefix(CONTAINER_FOLDER + "/"))
    if relative.startswith(".."):
        raise ValueError(f"LocalPath must be below {CONTAINER_FOLDER}, got {container_path}")
    return work / relative
