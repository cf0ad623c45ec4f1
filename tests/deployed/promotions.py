"""Candidates to promote in a deployed stage, and what becomes of them."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from demo.cloud import Deployment
from demo.model import IMAGE, _training_job
from tests.unit.detection_fakes import METRICS
from training.history.grid import Grid
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from treeline.app.learn.rollup import Rollup, reference_of
from treeline.app.promote.progress import Progress
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.detect.models import ModelStore
from treeline.aws.learn.rollups import RollupTable
from treeline.aws.promote.promotions import PromotionTable
from treeline.core.detection.scorer_row import feature_dim
from treeline.core.model.drift import HOUR_MS, count_features
from treeline.core.model.package import ModelPackage
from treeline.core.sketch import Sketch
from treeline.core.times import iso
from treeline.settings import outputs

PATIENCE_S = 300.0  # a deadline for what never happens, not a measure of speed


class Promotions:
    """The promotion workflow of a deployment, seen from outside."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.sagemaker = deployment.client("sagemaker")
        self.states = deployment.client("stepfunctions")
        self.group = deployment.output(outputs.MODEL_GROUP)
        self.endpoint = deployment.endpoint_name
        self.machine = deployment.output(outputs.PROMOTION_ARN)
        self.bucket = deployment.output(outputs.MODELS_BUCKET)
        dynamodb, table = deployment.client("dynamodb"), deployment.output(outputs.CONTROLS_TABLE)
        self.table = PromotionTable(dynamodb, self.states, table=table)
        self.models = ModelStore(dynamodb, deployment.client("s3"), controls_table=table, bucket=self.bucket)
        self._changes = self._subscribe()

    def _subscribe(self) -> str:
        sqs = self.deployment.client("sqs")
        url = sqs.create_queue(QueueName="model-changes")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.deployment.client("sns").subscribe(
            TopicArn=self.deployment.output(outputs.CHANGES_TOPIC_ARN),
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )
        return url

    def changes(self) -> list[dict[str, Any]]:
        """What the topic of changes has said since the last call."""
        sqs, found = self.deployment.client("sqs"), []
        while True:
            messages = sqs.receive_message(QueueUrl=self._changes, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                return sorted(found, key=lambda m: m["at"])
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self._changes, ReceiptHandle=message["ReceiptHandle"])

    def train(self, grid: Grid, version: str, *, seed: int = 2) -> ModelPackage:
        """A second model's artifacts, in the bucket."""
        prepared = prepare(grid, seed=seed)
        forest = _training_job(self.deployment, version, prepared.training_rows)
        package = calibrate_package(
            prepared, forest.score, model_version=version, samples_per_tree=forest.num_samples_per_tree
        )
        self.store(package)
        return package

    def store(self, package: ModelPackage) -> None:
        key = f"packages/{package.model_version}.zip"
        self.deployment.client("s3").put_object(Bucket=self.bucket, Key=key, Body=package.to_bytes())

    def package(self, version: str) -> bytes:
        answer = self.deployment.client("s3").get_object(Bucket=self.bucket, Key=f"packages/{version}.zip")
        return bytes(answer["Body"].read())

    def model_data(self, version: str) -> str:
        job = self.sagemaker.describe_training_job(TrainingJobName=version)
        return str(job["ModelArtifacts"]["S3ModelArtifacts"])

    def register(self, version: str, model_data_url: str, *, approval: str = "Approved") -> str:
        """Register as the pipeline's last step does; returns the package's ARN."""
        return str(
            self.sagemaker.create_model_package(
                ModelPackageGroupName=self.group,
                ModelApprovalStatus=approval,
                InferenceSpecification={
                    "Containers": [{"Image": IMAGE, "ModelDataUrl": model_data_url}],
                    "SupportedContentTypes": ["text/csv"],
                    "SupportedResponseMIMETypes": ["application/json"],
                },
                CustomerMetadataProperties={
                    "model_version": version,
                    "package_key": f"packages/{version}.zip",
                    "fingerprint": "0" * 16,
                    "reason": "test",
                    "algorithm": "container",
                },
            )["ModelPackageArn"]
        )

    def start(self, name: str, *, poll_s: int = 1, **request: Any) -> str:
        """Start an execution by hand."""
        body = {"request": request, "poll_s": poll_s, "endpoint_poll_s": 1, "settle_s": 0}
        answer = self.states.start_execution(stateMachineArn=self.machine, name=name, input=json.dumps(body))
        return str(answer["executionArn"])

    def executions(self) -> list[dict[str, Any]]:
        answer = self.states.list_executions(stateMachineArn=self.machine)
        return list(answer["executions"])

    def ended(self, execution: str) -> str:
        """Wait for an execution's end; its status."""

        def status() -> str | None:
            now = str(self.states.describe_execution(executionArn=execution)["status"])
            return None if now == "RUNNING" else now

        return self.wait(status, f"the end of {execution}")

    def wait_held(self, execution: str) -> None:
        """Wait until the execution has looked at its canary once more: then it rests for its `poll_s`."""

        def last() -> dict[str, Any]:
            answer = self.states.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=1)
            return dict(answer["events"][0])

        before = last()["id"]
        self.wait(lambda: (now := last())["id"] > before and now["type"] == "WaitStateEntered", "a look at the canary")

    def wait(self, found: Callable[[], Any], what: str) -> Any:
        """Until `found()` is truthy; fails with what the workflow says otherwise."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := found()):
            assert time.monotonic() < deadline, f"{what}: not after {PATIENCE_S} s; {self.trouble()}"
            time.sleep(0.2)
        return value

    def stage(self, *wanted: str, version: str) -> Progress:
        """Wait until a version's promotion is at one of these stages."""

        def there() -> Progress | None:
            progress = self.table.load()
            is_there = progress is not None and progress.candidate.model_version == version
            return progress if is_there and progress is not None and progress.stage.value in wanted else None

        found: Progress = self.wait(there, f"{version} at {wanted}")
        return found

    def fill_hours(self, version: str, end_ms: int, *, days: int, shift_sd: float) -> None:
        """Rolled-up hours up to `end_ms` whose scores are `shift_sd` off the model's training."""
        table = RollupTable(
            self.deployment.client("dynamodb"),
            table=self.deployment.output(outputs.ROLLUPS_TABLE),
            controls_table=self.deployment.output(outputs.CONTROLS_TABLE),
        )
        known = reference_of(ModelPackage.from_bytes(self.package(version)))
        mean = known.score_mean + shift_sd * known.score_sd
        for hour in range(end_ms - 24 * days * HOUR_MS, end_ms, HOUR_MS):
            features = count_features(np.ones((100, feature_dim(len(METRICS)))))
            sketch = Sketch({1: 100})
            table.put(
                Rollup(
                    model_version=version,
                    hour=hour,
                    count=100,
                    mean=mean,
                    variance=1.0,
                    sketch=sketch,
                    servers=12,
                    features=features,
                )
            )

    def invoke(self, output: str, now_ms: int) -> dict[str, Any]:
        """Run a scheduled function as of an event time; its answer."""
        answer = self.deployment.client("lambda").invoke(
            FunctionName=self.deployment.output(output), Payload=json.dumps({"now": iso(now_ms)}).encode()
        )
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return dict(body)

    def variants(self) -> list[str]:
        view = self.sagemaker.describe_endpoint(EndpointName=self.endpoint)
        return sorted(v["VariantName"] for v in view["ProductionVariants"])

    def _watermark(self, version: str) -> list[int]:
        table = self.deployment.output(outputs.DETECTOR_STATE_TABLE)
        record = DetectorRecords(
            self.deployment.client("dynamodb"), table, clock_ms=lambda: time.time_ns() // 1_000_000
        ).load(0, version)
        return [] if record is None else sorted(set(record.state.last_at.tolist()))

    def trouble(self) -> str:
        """The workflow's last words."""
        logs = self.deployment.cloud.logs(self.deployment.output(outputs.PROMOTION_FUNCTION), limit=12)
        with_state = {v: self._watermark(v) for v in ("test-1", "test-2")}
        logs.append(f"decided up to {with_state}")
        detect = self.deployment.cloud.logs(self.deployment.output(outputs.DETECT_FUNCTION))
        logs += [line for line in detect if "candidate" in line or "ERROR" in line][-5:]
        progress = self.table.load()
        return f"progress {progress and progress.to_json()}\nexecutions {self.executions()}\n" + "\n".join(logs)
