"""One profile's way from history to a registered model: pipeline, registry group, gate and schedule."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from stacks.config.learning import BUILT_IN_ACCOUNTS
from stacks.config.stage import StageConfig
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue
from stacks.constructs.rights import sagemaker_arn
from stacks.constructs.rule_target import invoke
from stacks.constructs.stores import Stores
from stacks.constructs.training_role import TrainingRole
from stacks.workflows.training import PipelineParts, definition
from treeline.settings.environment import overrides
from treeline.settings.learning import AdmitSettings, StartTrainingSettings


class ProfileTraining:
    """Makes the constructs of one profile in `scope`.

    It is no construct itself: that would move those of the servers' profile, and a deployment would replace them.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        config: StageConfig,
        state: Stores,
        training_data: s3.Bucket,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        self._scope = scope
        self._stack = cdk.Stack.of(scope)
        self._config = config
        self._state = state
        self._training_data = training_data
        self.pipeline_arn = sagemaker_arn(scope, "pipeline", config.pipeline_name.lower())
        self.image = config.learning.image or (
            f"{self._stack.account}.dkr.ecr.{self._stack.region}.{self._stack.url_suffix}/treeline:latest"
        )
        self._group = sagemaker.CfnModelPackageGroup(
            scope,
            "Models",
            model_package_group_name=config.pipeline_name,
            model_package_group_description=f"Treeline {config.stage}: models of the profile {config.learning.profile}",
        )
        self._group.apply_removal_policy(removal_policy)
        self._admit = self._gate()
        self.role = TrainingRole(
            scope,
            "TrainingRole",
            training_data=training_data,
            state=state,
            pipeline_name=config.pipeline_name,
            admit_arn=self._admit.arn,
        ).role
        self._pipeline()

    def _gate(self) -> PythonFunction:
        config, models = self._config, self._state.models
        admit = PythonFunction(
            self._scope,
            "Admit",
            name="admit",
            description="Checks a trained candidate with the detector's own code",
            settings=[AdmitSettings.of(config, stage=config.deployment, models_bucket=models.bucket_name)],
            packages=["numpy"],
        )
        admit.allow(["s3:GetObject"], [models.arn_for_objects("*")])
        admit.allow(["s3:ListBucket"], [models.bucket_arn])  # else a missing object is a 403
        return admit

    def _algorithm_image(self) -> str:
        if self._config.learning.algorithm == "container":
            return self.image
        region = self._config.region
        return f"{BUILT_IN_ACCOUNTS[region]}.dkr.ecr.{region}.{self._stack.url_suffix}/randomcutforest:1"

    def _pipeline(self) -> None:
        config, state = self._config, self._state
        tables = {
            "--controls-table": state.controls.table_name,
            "--incidents-table": state.incidents.table_name,
            "--servers-table": state.servers.table_name,
        }
        if state.mutes is not state.controls:
            tables["--mutes-table"] = state.mutes.table_name
        body = definition(
            config.learning,
            PipelineParts(
                name=config.pipeline_name,
                metrics=config.metrics,
                image=self.image,
                algorithm_image=self._algorithm_image(),
                models_bucket=state.models.bucket_name,
                training_bucket=self._training_data.bucket_name,
                tables=tables,
                group_size=config.group_size,
                step_s=config.step_s,
                admit_function_arn=self._admit.arn,
                role_arn=self.role.role_arn,
                policy=overrides(config.detection.policy),
                timezone=config.detection.timezone,
                rolling_window_s=config.detection.trained_window_s,
            ),
        )
        pipeline = sagemaker.CfnPipeline(
            self._scope,
            "Pipeline",
            pipeline_name=config.pipeline_name,
            pipeline_description="History to registered model: prepare, train, evaluate, admit, register",
            pipeline_definition={"PipelineDefinitionBody": self._stack.to_json_string(body)},
            role_arn=self.role.role_arn,
        )
        pipeline.node.add_dependency(self._group, self.role)

    def retrain_on_schedule(self, dead_letters: DeadLetterQueue) -> None:
        """Start training runs every `learning.retraining_days`, where the profile asks for it."""
        config = self._config
        days = config.learning.retraining_days
        if days is None:
            return
        start = PythonFunction(
            self._scope,
            "StartTraining",
            name="start_training",
            description="Starts a training run unless one is under way",
            settings=[
                StartTrainingSettings(
                    stage=config.deployment,
                    pipeline_name=config.pipeline_name,
                    controls_table=self._state.controls.table_name,
                )
            ],
        )
        start.allow(["dynamodb:GetItem"], [self._state.controls.table_arn])  # what overrides the forest's settings
        # What treeline.aws.learn.pipeline needs to start a run that is the only one.
        start.allow(["sagemaker:ListPipelineExecutions", "sagemaker:StartPipelineExecution"], [self.pipeline_arn])
        start.allow(["sagemaker:StopPipelineExecution"], [f"{self.pipeline_arn}/execution/*"])
        rule = events.Rule(
            self._scope,
            "Retraining",
            description="Retraining on a schedule, beside what drift asks for",
            schedule=events.Schedule.rate(cdk.Duration.days(days)),
        )
        invoke(rule, start, dead_letters=dead_letters)
