"""A deployed training pipeline seen from outside, and what becomes of its runs."""

import json
import time
from typing import Any

from demo.cloud import Deployment
from demo.learn.archive import Archive
from training.history.grid import Grid
from treeline.app.detect.override import Override
from treeline.app.learn.training_runs import TrainingRun, start_training
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.learn.registry import ModelRegistry
from treeline.settings import outputs

PATIENCE_S = 300.0  # a deadline for what never happens, not a measure of speed


class Training:
    """A deployed pipeline, a small history, and the verbs of these tests."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.sagemaker = deployment.client("sagemaker")
        self.name = deployment.output(outputs.PIPELINE_NAME)
        self.pipeline = SageMakerTrainingPipeline(self.sagemaker, self.name)
        self.registry = ModelRegistry(self.sagemaker, deployment.output(outputs.MODEL_GROUP))
        self.definition = json.loads(self.sagemaker.describe_pipeline(PipelineName=self.name)["PipelineDefinition"])
        sqs = deployment.client("sqs")
        self.inbox = sqs.create_queue(QueueName="operations-inbox")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.inbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        deployment.client("sns").subscribe(
            TopicArn=deployment.output(outputs.OPERATIONS_TOPIC_ARN),
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )

    def put_history(self, grid: Grid) -> None:
        """One file of the history format."""
        Archive(self.deployment).add(grid)

    def deploy(self, definition: dict[str, Any]) -> None:
        """Change the pipeline, as a deployment would."""
        self.sagemaker.update_pipeline(PipelineName=self.name, PipelineDefinition=json.dumps(definition))

    def start(self, request_id: str, override: Override | None = None) -> str:
        started = start_training(
            self.pipeline, reason=request_id, window_end_ms=None, request_id=request_id, override=override
        )
        assert started.is_new
        return started.run_id

    def end(self, run_id: str) -> TrainingRun:
        """The run once it has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while (run := self.pipeline.describe(run_id)).is_active:
            assert time.monotonic() < deadline, run
            time.sleep(0.1)
        return run

    def asked(self, run_id: str, step: str) -> list[str]:
        """The container arguments of a run's processing step."""
        steps = self.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=run_id)["PipelineExecutionSteps"]
        (arn,) = [s["Metadata"]["ProcessingJob"]["Arn"] for s in steps if s["StepName"] == step]
        job = self.sagemaker.describe_processing_job(ProcessingJobName=arn.rsplit("/", 1)[1])
        return list(job["AppSpecification"]["ContainerArguments"])

    def hosted(self) -> None:
        """Until the endpoint of the first approved model is there: promotion makes it, nobody else."""
        endpoint = self.deployment.output(outputs.ENDPOINT_NAME)
        deadline = time.monotonic() + PATIENCE_S
        while endpoint not in [e["EndpointName"] for e in self.sagemaker.list_endpoints()["Endpoints"]]:
            assert time.monotonic() < deadline, "the approved model is not hosted"
            time.sleep(0.1)

    def told(self, run_id: str) -> dict[str, Any]:
        """What the operations topic was told about a run."""
        sqs = self.deployment.client("sqs")
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=self.inbox, WaitTimeSeconds=1).get("Messages", []):
                sqs.delete_message(QueueUrl=self.inbox, ReceiptHandle=message["ReceiptHandle"])
                body: dict[str, Any] = json.loads(message["Body"])
                if body.get("run") == run_id:
                    return body
        raise AssertionError(f"nobody was told how {run_id} ended")

    def versions(self) -> list[str]:
        return [model.model_version for model in self.registry.models()]
