"""Training jobs: the control-plane side. The fit itself runs in a process of its own."""

import json
import subprocess
import sys
import threading
import time
from typing import Any

from emulator.loopback.clients import ClientOf
from emulator.sagemaker.errors import ServiceError, validation
from emulator.sagemaker.s3_urls import bucket_and_key, keys_below
from emulator.sagemaker.store import Action, Announce, Resource, Store, arn

_DEFAULT_CONTENT_TYPE = "application/x-recordio-protobuf"  # the built-in algorithm's
SEED_VARIABLE = "SEED"  # a job's Environment may name it; SageMaker's own algorithm has no seed


class TrainingJobs:
    """Create, describe, list and stop training jobs.

    Args:
        lock: Shared by the service's stores.
        clients: boto3 clients of this cloud by service.
        endpoint_url: Where the job's process finds S3.
        announce: Puts a state change on the event bus.
        delays: "training_s" is the least time a job takes.
    """

    def __init__(
        self, lock: threading.RLock, clients: ClientOf, endpoint_url: str, announce: Announce, delays: dict[str, float]
    ) -> None:
        self._jobs = Store("TrainingJob", "training-job", lock)
        self._clients = clients
        self._endpoint_url = endpoint_url
        self._announce = announce
        self._delays = delays
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def actions(self) -> dict[str, Action]:
        """The API actions served here."""
        return {
            **self._jobs.reading("TrainingJobSummaries", "LastModifiedTime", "TrainingJobStatus", "TrainingEndTime"),
            "CreateTrainingJob": self.create,
            "StopTrainingJob": self.stop,
        }

    def create(self, request: Resource) -> Resource:
        """Start a job; its failure shows in its state, as on AWS."""
        name = request["TrainingJobName"]
        if not any(c["ChannelName"] == "train" for c in request.get("InputDataConfig", [])):
            raise validation("InputDataConfig must have a channel named train for this algorithm.")
        in_use = ServiceError("ResourceInUse", "Training job names must be unique within an AWS account and Region.")
        job = self._jobs.create(
            name,
            {
                **request,
                "TrainingJobArn": arn("training-job", name),
                "TrainingJobStatus": "InProgress",
                "SecondaryStatus": "Starting",
                "SecondaryStatusTransitions": [],
            },
            in_use,
        )
        self._move(name, "InProgress", "Starting")
        threading.Thread(target=self._run, args=(name, job), daemon=True, name=f"training-{name}").start()
        return {"TrainingJobArn": job["TrainingJobArn"]}

    def stop(self, request: Resource) -> Resource:
        """Stop a running job; it ends as Stopped without artifacts."""
        name = request["TrainingJobName"]
        job = self._jobs.get(name)
        if job["TrainingJobStatus"] != "InProgress":
            raise validation("The request was rejected because the training job is not in progress.")
        self._move(name, "Stopping", "Stopping")
        process = self._processes.get(name)
        if process is not None:
            process.kill()
        return {}

    def end(self) -> None:
        """Kill the processes of running jobs."""
        for process in list(self._processes.values()):
            process.kill()

    def _run(self, name: str, job: Resource) -> None:
        began = time.time()
        try:
            self._move(name, "InProgress", "Downloading")
            order = self._order(name, job)
            self._move(name, "InProgress", "Training", TrainingStartTime=time.time())
            answer = self._fit(name, order)
        except Exception as error:  # noqa: BLE001 -- whatever went wrong is the job's failure reason
            answer = {"error": f"{type(error).__name__}: {error}"}
        time.sleep(max(0.0, self._delays["training_s"] - (time.time() - began)))
        ended = {"TrainingEndTime": time.time(), "TrainingTimeInSeconds": int(time.time() - began)}
        ended["BillableTimeInSeconds"] = ended["TrainingTimeInSeconds"]
        if self._jobs.get(name)["TrainingJobStatus"] == "Stopping":
            self._move(name, "Stopped", "Stopped", **ended)
        elif "error" in answer:
            self._move(name, "Failed", "Failed", FailureReason=f"ClientError: {answer['error']}", **ended)
        else:
            artifacts = {"S3ModelArtifacts": f"s3://{order['bucket']}/{order['key']}"}
            self._move(name, "Completed", "Completed", ModelArtifacts=artifacts, **ended)

    def _fit(self, name: str, order: Resource) -> Resource:
        process = subprocess.Popen(
            [sys.executable, "-m", "emulator.sagemaker.train_job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes[name] = process
        out, err = process.communicate(json.dumps(order))
        self._processes.pop(name, None)
        if out.strip():
            answer: Resource = json.loads(out.strip().splitlines()[-1])
            return answer
        return {"error": f"the job's process ended with {process.returncode}: {err.strip()[-500:]}"}

    def _order(self, name: str, job: Resource) -> Resource:
        bucket, prefix = bucket_and_key(job["OutputDataConfig"]["S3OutputPath"])
        key = "/".join(part for part in (prefix.strip("/"), name, "output/model.tar.gz") if part)
        files = []
        for channel in job["InputDataConfig"]:
            if channel["ChannelName"] == "train":
                files += self._channel_files(channel)
        if not files:
            raise ValueError("the train channel has no objects")
        return {
            "files": files,
            "hyperparameters": job.get("HyperParameters", {}),
            "seed": int(job.get("Environment", {}).get(SEED_VARIABLE, 0)),
            "bucket": bucket,
            "key": key,
            "endpoint_url": self._endpoint_url,
        }

    def _channel_files(self, channel: Resource) -> list[list[Any]]:
        source = channel["DataSource"]["S3DataSource"]
        if source["S3DataType"] != "S3Prefix":
            raise ValueError(f"S3DataType {source['S3DataType']} is not supported here, S3Prefix is")
        bucket, prefix = bucket_and_key(source["S3Uri"])
        content_type = channel.get("ContentType", _DEFAULT_CONTENT_TYPE)
        zipped = channel.get("CompressionType") == "Gzip"
        return [[content_type, bucket, key, zipped] for key in keys_below(self._clients("s3"), bucket, prefix)]

    def _move(self, name: str, status: str, secondary: str, **values: Any) -> None:
        with self._jobs.lock:
            transitions = self._jobs.get(name)["SecondaryStatusTransitions"]
            now = time.time()
            if transitions:
                transitions[-1]["EndTime"] = now
            transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": secondary})
            self._jobs.change(name, TrainingJobStatus=status, SecondaryStatus=secondary, **values)
            job = dict(self._jobs.get(name))
        self._announce("SageMaker Training Job State Change", job["TrainingJobArn"], job)
