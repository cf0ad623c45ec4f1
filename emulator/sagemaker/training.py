"""Training jobs: the control-plane side. The fit itself runs in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.sagemaker.built_in_contract import check_job
from emulator.sagemaker.containers import is_built_in
from emulator.sagemaker.errors import validation
from emulator.sagemaker.jobs import Jobs
from emulator.sagemaker.s3_urls import bucket_and_key, keys_below
from emulator.sagemaker.store import Resource
from treeline.core.errors import TreelineError

_DEFAULT_CONTENT_TYPE = "application/x-recordio-protobuf"  # our container's, where a channel names none
SEED_VARIABLE = "SEED"  # our container's: a job's Environment may name it


@dataclass(slots=True)
class TrainingJobs(Jobs):
    """Create, describe, list and stop training jobs."""

    noun = "Training"

    delays: Mapping[str, float]  # "training_s" is the least time a job takes

    def create(self, request: Resource) -> Resource:
        """Start a job; one without data to train on is refused."""
        if not any(c["ChannelName"] == "train" for c in request.get("InputDataConfig", [])):
            raise validation("InputDataConfig must have a channel named train for this algorithm.")
        return self.start(request, SecondaryStatus="Starting", SecondaryStatusTransitions=[])

    def to_stopping(self, name: str) -> None:
        """Note that a job has been asked to stop."""
        self._move(name, "Stopping", "Stopping")

    def run(self, name: str, job: Resource) -> None:
        """Find the data, fit, and say where the artifact is."""
        began = time.time()
        self._move(name, "InProgress", "Starting")
        try:
            self._move(name, "InProgress", "Downloading")
            order = self._order(name, job)
            self._move(name, "InProgress", "Training", TrainingStartTime=time.time())
            answer = self._fit(name, order)
        except TreelineError as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 -- whatever went wrong is the job's failure reason
            answer = {"error": f"{type(error).__name__}: {error}"}
        time.sleep(max(0.0, self.delays["training_s"] - (time.time() - began)))
        ended = {"TrainingEndTime": time.time(), "TrainingTimeInSeconds": int(time.time() - began)}
        ended["BillableTimeInSeconds"] = ended["TrainingTimeInSeconds"]
        if self.status(name) == "Stopping":
            self._move(name, "Stopped", "Stopped", **ended)
        elif "error" in answer:
            self._move(name, "Failed", "Failed", FailureReason=f"ClientError: {answer['error']}", **ended)
        else:
            artifacts = {"S3ModelArtifacts": f"s3://{order['bucket']}/{order['key']}"}
            self._move(name, "Completed", "Completed", ModelArtifacts=artifacts, **ended)

    def _fit(self, name: str, order: Resource) -> Resource:
        command = [sys.executable, "-m", "emulator.sagemaker.train_job"]
        process = self.process(name, command, json.dumps(order), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        if process.stdout.strip():
            answer: Resource = json.loads(process.stdout.strip().splitlines()[-1])
            return answer
        return {"error": f"the job's process ended with {process.returncode}: {process.stderr.strip()[-500:]}"}

    def _order(self, name: str, job: Resource) -> Resource:
        bucket, prefix = bucket_and_key(job["OutputDataConfig"]["S3OutputPath"])
        key = "/".join(part for part in (prefix.strip("/"), name, "output/model.tar.gz") if part)
        files = []
        for channel in job["InputDataConfig"]:
            if channel["ChannelName"] == "train":
                files += self._channel_files(channel)
        if not files:
            raise ValueError("the train channel has no objects")
        built_in = is_built_in(job["AlgorithmSpecification"].get("TrainingImage", ""))
        if built_in:
            check_job(job, len(files))
        return {
            "built_in": built_in,
            "files": files,
            "hyperparameters": job.get("HyperParameters", {}),
            "seed": int(job.get("Environment", {}).get(SEED_VARIABLE, 0)),
            "bucket": bucket,
            "key": key,
            "endpoint_url": self.endpoint_url,
        }

    def _channel_files(self, channel: Resource) -> list[list[Any]]:
        source = channel["DataSource"]["S3DataSource"]
        if source["S3DataType"] != "S3Prefix":
            raise ValueError(f"S3DataType {source['S3DataType']} is not supported here, S3Prefix is")
        bucket, prefix = bucket_and_key(source["S3Uri"])
        content_type = channel.get("ContentType", _DEFAULT_CONTENT_TYPE)
        zipped = channel.get("CompressionType") == "Gzip"
        return [[content_type, bucket, key, zipped] for key in keys_below(self.clients("s3"), bucket, prefix)]

    def _move(self, name: str, status: str, secondary: str, **values: Any) -> None:
        with self.lock:
            transitions = self.store.get(name)["SecondaryStatusTransitions"]
            now = time.time()
            if transitions:
                transitions[-1]["EndTime"] = now
            transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": secondary})
            self.store.change(name, TrainingJobStatus=status, SecondaryStatus=secondary, **values)
            job = dict(self.store.get(name))
        self.announce("SageMaker Training Job State Change", job["TrainingJobArn"], job)
