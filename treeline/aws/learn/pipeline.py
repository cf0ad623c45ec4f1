"""The deployed SageMaker Pipeline, seen through its API."""

import hashlib

from treeline.app.learn.training_runs import TrainingRun
from treeline.aws.client_types import SageMakerClient

_ACTIVE = ("Executing", "Stopping")


class SageMakerTrainingPipeline:
    """Starts and watches executions of one pipeline."""

    def __init__(self, sagemaker: SageMakerClient, pipeline_name: str) -> None:
        self._sagemaker = sagemaker
        self._pipeline_name = pipeline_name

    def active(self) -> list[str]:
        """ARNs of the executions under way, oldest first."""
        pages = self._sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=self._pipeline_name, SortBy="CreationTime", SortOrder="Ascending"
        )
        return [
            summary["PipelineExecutionArn"]
            for page in pages
            for summary in page["PipelineExecutionSummaries"]
            if summary["PipelineExecutionStatus"] in _ACTIVE
        ]

    def start(self, token: str, parameters: dict[str, str]) -> str:
        """Start an execution; the same token gives the same one."""
        answer = self._sagemaker.start_pipeline_execution(
            PipelineName=self._pipeline_name,
            ClientRequestToken=token,
            PipelineParameters=[{"Name": name, "Value": value} for name, value in parameters.items()],
        )
        return answer["PipelineExecutionArn"]

    def stop(self, run_id: str) -> None:
        """End an execution; its jobs are stopped."""
        token = hashlib.sha256(run_id.encode()).hexdigest()
        self._sagemaker.stop_pipeline_execution(PipelineExecutionArn=run_id, ClientRequestToken=token)

    def describe(self, run_id: str) -> TrainingRun:
        """One execution with its steps."""
        execution = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=run_id)
        answer = self._sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=run_id, SortOrder="Ascending")
        steps = answer["PipelineExecutionSteps"]
        registered = [
            step["Metadata"]["RegisterModel"]["Arn"] for step in steps if "RegisterModel" in step.get("Metadata", {})
        ]
        return TrainingRun(
            run_id=run_id,
            status=execution["PipelineExecutionStatus"],
            failure=execution.get("FailureReason", ""),
            steps=[(step["StepName"], step["StepStatus"], step.get("FailureReason", "")) for step in steps],
            registered=registered[0] if registered else "",
        )
