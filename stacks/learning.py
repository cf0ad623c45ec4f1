"""Learning: the training pipeline, the registry's group, and what watches over them."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.constructs.changes_topic import ChangesTopic
from stacks.constructs.drift import DriftWatch
from stacks.constructs.history_job import HistoryJob
from stacks.constructs.model_monitor import ModelMonitor
from stacks.constructs.operations_alarm import OperationsAlarm, errors, queue_depth
from stacks.constructs.own_metrics import own
from stacks.constructs.private_bucket import PrivateBucket
from stacks.constructs.profile_training import ProfileTraining
from stacks.constructs.promotion import Promotion
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue
from stacks.constructs.rule_target import invoke
from stacks.state import StateStack
from stacks.treeline_stack import StackOnState
from treeline.app.metrics import OwnMetric
from treeline.settings import outputs
from treeline.settings.learning import TrainingEndedSettings

RUN_FILES_DAYS = 30  # what a run leaves beside its model can be made again


class LearningStack(StackOnState):
    """From history to a registered, approved model; the promotion workflow takes it from there."""

    def __init__(
        self,
        scope: Construct,
        *,
        state: StateStack,
        operations: sns.ITopic,
        routing_key: secretsmanager.ISecret | None = None,
    ) -> None:
        super().__init__(scope, outputs.LEARNING, holds="training pipeline and model registry", state=state)
        config = state.config
        self.operations = operations
        self._state = state
        runs = s3.LifecycleRule(id="runs", prefix="runs/", expiration=cdk.Duration.days(RUN_FILES_DAYS))
        self.training_data = PrivateBucket(self, "TrainingData", removal_policy=self.removal_policy, rules=[runs])
        self.events_dead = DeadLetterQueue(self, "EventsDead")
        self.training = ProfileTraining(
            self, config=config, state=state, training_data=self.training_data, removal_policy=self.removal_policy
        )
        self.training_ended = self._training_ended()
        self.training.retrain_on_schedule(self.events_dead)
        self._alarms()
        self._history_job()
        self._model_monitor()
        self.promotion, self.drift = self._promotion_and_drift(routing_key)

        self.tell(outputs.PIPELINE_NAME, config.pipeline_name, "SageMaker Pipeline that trains")
        self.tell(outputs.MODEL_GROUP, config.pipeline_name, "Model package group the pipeline registers in")
        self.tell(outputs.EVENTS_DEAD_QUEUE_URL, self.events_dead.queue_url, "Events that no function took")
        self.tell(outputs.TRAINING_BUCKET, self.training_data.bucket_name, "History to train on, below history/")

    def _history_job(self) -> None:
        days = self.config.learning.history_days
        if days is None:
            return
        job = HistoryJob(
            self,
            "History",
            training_data=self.training_data,
            image=self.training.image,
            days=days,
            removal_policy=self.removal_policy,
        )
        self.tell(outputs.HISTORY_QUEUE_ARN, job.queue.job_queue_arn, "Batch queue of the history fetch")
        self.tell(outputs.HISTORY_JOB_ARN, job.definition.job_definition_arn, "Batch job that fetches history")

    def _model_monitor(self) -> None:
        baseline = self.config.learning.model_monitor_baseline.rstrip("/")
        if baseline:
            ModelMonitor(
                self,
                "ModelMonitor",
                config=self.config,
                role=self.training.role,
                baseline_url=baseline,
                output_url=f"s3://{self.training_data.bucket_name}/runs/model-monitor",
            )

    def _training_ended(self) -> PythonFunction:
        ended = PythonFunction(
            self,
            "TrainingEnded",
            name="training_ended",
            description="Tells operations how a training run ended, and why",
            settings=[
                TrainingEndedSettings(stage=self.config.deployment, operations_topic_arn=self.operations.topic_arn)
            ],
        )
        ended.allow(
            ["sagemaker:DescribePipelineExecution", "sagemaker:ListPipelineExecutionSteps"],
            [f"{self.training.pipeline_arn}/execution/*"],
        )
        ended.allow(["sns:Publish"], [self.operations.topic_arn])
        if isinstance(self.operations, sns.Topic) and self.operations.master_key is not None:
            ended.allow(["kms:GenerateDataKey", "kms:Decrypt"], [self.operations.master_key.key_arn])
        rule = events.Rule(
            self,
            "TrainingRunEnded",
            description="A training run succeeded, failed or was stopped",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Building Pipeline Execution Status Change"],
                detail={
                    "pipelineArn": [self.training.pipeline_arn],
                    "currentPipelineExecutionStatus": ["Failed", "Succeeded", "Stopped"],
                },
            ),
        )
        invoke(rule, ended, dead_letters=self.events_dead)
        return ended

    def _promotion_and_drift(self, routing_key: secretsmanager.ISecret | None) -> tuple[Promotion, DriftWatch]:
        changes = ChangesTopic(
            self, "ModelChanges", stage=self.config.deployment, emails=self.config.notifications.operations_emails
        )
        promotion = Promotion(
            self,
            "Promotion",
            config=self.config,
            state=self._state,
            changes=changes,
            model_group=self.config.pipeline_name,
            events_dead=self.events_dead,
            routing_key=routing_key,
        )
        drift = DriftWatch(
            self,
            "DriftWatch",
            config=self.config,
            state=self._state,
            changes=changes,
            pipeline_name=self.config.pipeline_name,
            pipeline_arn=self.training.pipeline_arn,
            events_dead=self.events_dead,
            routing_key=routing_key,
        )
        self.tell(outputs.CHANGES_TOPIC_ARN, changes.topic_arn, "SNS topic of what happens to the models")
        self.tell(outputs.PROMOTION_ARN, promotion.state_machine.state_machine_arn, "Promotion state machine")
        self.tell(outputs.APPROVAL_FUNCTION, promotion.approval.function.function_name, "Function approval")
        self.tell(outputs.PROMOTION_FUNCTION, promotion.step.function.function_name, "Function promotion")
        self.tell(outputs.ROLLUP_FUNCTION, drift.rollup.function.function_name, "Function rollup")
        self.tell(outputs.DRIFT_FUNCTION, drift.drift.function.function_name, "Function drift")
        return promotion, drift

    def _alarms(self) -> None:
        OperationsAlarm(
            self,
            "EventsDeadNotEmpty",
            "Was an approval, the end of a training run or a scheduled check offered in vain?",
            queue_depth(self.events_dead),
        )
        OperationsAlarm(
            self,
            "TrainingFailed",
            "Did a training run end without a model, so that the fleet is watched by an old one?",
            own(OwnMetric.TrainingRunsFailed, stage=self.config.deployment),
        )
        OperationsAlarm(
            self,
            "TrainingEndedErrors",
            "Does training_ended raise, so that nobody hears how training went?",
            errors(self.training_ended.function),
        )
