"""Looks on while the deployment learns: reads its tables and topics, changes nothing but one thing, the first start."""

import json
import time

from demo.cloud import Deployment
from demo.learn.event_time import StuckError, wait_for
from treeline.app.detect.handover import Pointer
from treeline.app.learn.rollup import reference_of
from treeline.app.learn.training_runs import start_training
from treeline.app.promote.progress import Progress, PromotionStage
from treeline.aws.detect.models import ModelStore
from treeline.aws.learn.pipeline import SageMakerTrainingPipeline
from treeline.aws.promote.promotions import PromotionTable
from treeline.core.model.drift import Reference
from treeline.core.model.package import ModelPackage
from treeline.settings import outputs

TRAINING_PATIENCE_S = 240.0
_POLL_S = 0.1


class ModelWatch:
    """What one may know about the models of a deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._table = PromotionTable(
            deployment.client("dynamodb"),
            deployment.client("stepfunctions"),
            table=deployment.output(outputs.CONTROLS_TABLE),
        )
        self._pipeline = SageMakerTrainingPipeline(
            deployment.client("sagemaker"), deployment.output(outputs.PIPELINE_NAME)
        )
        self._models = ModelStore(
            deployment.client("dynamodb"),
            deployment.client("s3"),
            controls_table=deployment.output(outputs.CONTROLS_TABLE),
            bucket=deployment.output(outputs.MODELS_BUCKET),
        )
        environment = deployment.client("lambda").get_function_configuration(
            FunctionName=deployment.output(outputs.PROMOTION_FUNCTION)
        )["Environment"]["Variables"]
        self.slice_s = int(environment["SLICE_S"])
        self.hold_s = int(environment["HOLD_S"])
        self._run_id = ""

    def start_first_training(self) -> str:
        """What an operator does once after the deployment: `treeline model train`; the run's id."""
        return start_training(self._pipeline, reason="first", window_end_ms=None, request_id="first").run_id

    def trouble(self) -> str:
        """Where things stand, for the message of a story that got stuck."""
        run, progress = self._pipeline.describe(self._run_id), self.promotion()
        steps = ", ".join(f"{name} {status}" for name, status, _ in run.steps) or "no step begun"
        registered = run.registered or "nothing"
        stage = "none begun" if progress is None else f"{progress.stage.value} {progress.reason}".rstrip()
        said = self._deployment.cloud.logs(self._deployment.output(outputs.PROMOTION_FUNCTION), limit=3)
        return (
            f"training {run.status} {run.failure}({steps}; registered {registered}); promotion: {stage}; "
            f"executions {self._executions() or 'none'}; promotion says {' | '.join(said) or 'nothing'}"
        )

    def _executions(self) -> list[str]:
        answer = self._deployment.client("stepfunctions").list_executions(
            stateMachineArn=self._deployment.output(outputs.PROMOTION_ARN)
        )
        return [f"{execution['name']} {execution['status']}" for execution in answer["executions"]]

    def active(self) -> Pointer | None:
        """The model that decides."""
        return self._models.read()

    def promotion(self) -> Progress | None:
        """The promotion under way, or the last."""
        return self._table.load()

    def reference_of(self, package_key: str) -> Reference:
        """What a model's training looked like."""
        body = self._deployment.client("s3").get_object(
            Bucket=self._deployment.output(outputs.MODELS_BUCKET), Key=package_key
        )["Body"]
        return reference_of(ModelPackage.from_bytes(body.read()))

    def wait_trained(self, run_id: str) -> None:
        """Until a training run has registered a model.

        Raises:
            StuckError: It ended otherwise, with its reason.
        """
        self._run_id = run_id
        wait_for(
            lambda: not self._pipeline.describe(run_id).is_active,
            "the training run has ended",
            trouble=self.trouble,
            patience_s=TRAINING_PATIENCE_S,
            poll_s=_POLL_S,
        )
        run = self._pipeline.describe(run_id)
        if run.status != "Succeeded" or not run.registered:
            raise StuckError(f"the training run registered no model: {self.trouble()}")

    def wait_active(self) -> Pointer:
        """Until a first model decides; raises StuckError with the reason when its promotion ended otherwise."""

        def settled() -> bool:
            progress = self.promotion()
            if progress is not None and progress.is_over and self.active() is None:
                raise StuckError(f"the first model was not promoted: {self.trouble()}")
            return progress is not None and progress.is_over

        wait_for(settled, "the first model is active", trouble=self.trouble, poll_s=_POLL_S)
        pointer = self.active()
        if pointer is None:
            raise StuckError(f"no model is active: {self.trouble()}")
        return pointer

    def wait_promotion_begun(self, before: str) -> None:
        """Until the candidate decides beside the champion `before`, or its promotion is over."""

        def begun() -> bool:
            progress = self.promotion()
            if progress is None or progress.candidate.model_version == before:
                return False
            return progress.is_over or progress.stage is PromotionStage.CANARY

        wait_for(begun, "the next model's canary has begun", trouble=self.trouble, poll_s=_POLL_S)

    def wait_judged(self, last_ms: int) -> None:
        """Until every slice of a canary that the observations up to `last_ms` complete is judged, with what follows."""

        def judged() -> bool:
            progress = self.promotion()
            if progress is None or progress.is_over:
                return True
            due = (last_ms - progress.canary_from) // (self.slice_s * 1000)
            is_held = (
                progress.stage is PromotionStage.CANARY and not progress.reason and due < self.hold_s // self.slice_s
            )
            return is_held and len(progress.verdicts) >= due

        wait_for(judged, "the canary's slices are judged", trouble=self.trouble, poll_s=_POLL_S)

    def told_by(self, model_version: str) -> int:
        """Alerts that name a model, among the pages PagerDuty's stand-in accepted."""
        time.sleep(0.5)
        received = self._deployment.cloud.pagerduty.received()
        return sum(model_version in json.dumps(entry["event"]) for entry in received if entry["status"] == 202)
