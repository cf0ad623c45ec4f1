"""One profile's way from history to a registered model: pipeline, registry group, gate and schedule."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from stacks.config.learning import BUILT_IN_ACCOUNTS
from stacks.config.profiles import Profile
from stacks.config.stage import StageConfig
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue
from stacks.constructs.rule_target import invoke
from stacks.constructs.stores import Stores
from stacks.constructs.training_role import TrainingRole
from stacks.workflows.training import PipelineParts, definition
from treeline.settings.environment import overrides
from treeline.settings.learning import AdmitSettings, StartTrainingSettings


class ProfileTraining:
    """Makes the constructs of one profile in `scope`.

    It is no construct itself: that would move those of the servers' profile, and a deployment would replace them.

    Attributes:
        image: Our container.
        role: Of the pipeline and its jobs.
        pipeline_arn: The training pipeline.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        config: StageConfig,
        profile: Profile,
        state: Stores,
        training_data: s3.Bucket,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        self._scope = scope
        self._stack = cdk.Stack.of(scope)
        self._config = config
        self._profile = profile
        self._state = state
        self._training_data = training_data
        self.pipeline_arn = self._stack.format_arn(
            service="sagemaker", resource="pipeline", resource_name=profile.pipeline_name.lower()
        )
        self.image = profile.config.learning.image or (
            f"{self._stack.account}.dkr.ecr.{self._stack.region}.{self._stack.url_suffix}/treeline:latest"
        )
        self._group = sagemaker.CfnModelPackageGroup(
            scope,
            profile.construct_id("Models"),
            model_package_group_name=profile.pipeline_name,
            model_package_group_description=f"Treeline {config.stage}: models of the profile {profile.name}",
        )
        self._group.apply_removal_policy(removal_policy)
        self._admit = self._gate()
        self.role = TrainingRole(
            scope,
            profile.construct_id("TrainingRole"),
            training_data=training_data,
            state=state,
            profile=profile,
            admit_arn=self._admit.arn,
        ).role
        self._pipeline()

    def _gate(self) -> PythonFunction:
        models, profile = self._state.models, self._profile
        admit = PythonFunction(
            self._scope,
            profile.construct_id("Admit"),
            name="admit",
            description="Checks a trained candidate with the detector's own code",
            settings=[AdmitSettings.of(profile.config, stage=self._config.stage, models_bucket=models.bucket_name)],
            packages=["numpy"],
        )
        below = ("*",) if profile.is_detected else (f"packages/{profile.versions}*", f"{profile.forests}/*")
        admit.allow(["s3:GetObject"], [models.arn_for_objects(path) for path in below])
        admit.allow(["s3:ListBucket"], [models.bucket_arn])  # else a missing object is a 403
        return admit

    def _algorithm_image(self) -> str:
        if self._profile.config.learning.algorithm == "container":
            return self.image
        region = self._config.region
        return f"{BUILT_IN_ACCOUNTS[region]}.dkr.ecr.{region}.{self._stack.url_suffix}/randomcutforest:1"

    def _pipeline(self) -> None:
        profile, state = self._profile, self._state
        tables = {
            "--controls-table": state.controls.table_name,
            "--incidents-table": state.incidents.table_name,
            "--servers-table": state.servers.table_name,
        }
        body = definition(
            profile.config.learning,
            PipelineParts(
                name=profile.pipeline_name,
                metrics=profile.config.metric_names,
                image=self.image,
                algorithm_image=self._algorithm_image(),
                models_bucket=state.models.bucket_name,
                training_bucket=self._training_data.bucket_name,
                history=profile.history,
                forests=profile.forests,
                tables=tables if profile.is_detected else {},
                step_s=profile.config.step_s,
                admit_function_arn=self._admit.arn,
                role_arn=self.role.role_arn,
                policy=overrides(profile.policy),
            ),
        )
        pipeline = sagemaker.CfnPipeline(
            self._scope,
            profile.construct_id("Pipeline"),
            pipeline_name=profile.pipeline_name,
            pipeline_description="History to registered model: prepare, train, evaluate, admit, register",
            pipeline_definition={"PipelineDefinitionBody": self._stack.to_json_string(body)},
            role_arn=self.role.role_arn,
        )
        pipeline.node.add_dependency(self._group, self.role)

    def retrain_on_schedule(self, dead_letters: DeadLetterQueue) -> None:
        """Start training runs every `learning.retraining_days`, where the profile asks for it."""
        profile = self._profile
        days = profile.config.learning.retraining_days
        if days is None:
            return
        start = PythonFunction(
            self._scope,
            profile.construct_id("StartTraining"),
            name="start_training",
            description="Starts a training run unless one is under way",
            settings=[StartTrainingSettings(stage=self._config.stage, pipeline_name=profile.pipeline_name)],
        )
        # What treeline.aws.learn.pipeline needs to start a run that is the only one.
        start.allow(["sagemaker:ListPipelineExecutions", "sagemaker:StartPipelineExecution"], [self.pipeline_arn])
        start.allow(["sagemaker:StopPipelineExecution"], [f"{self.pipeline_arn}/execution/*"])
        rule = events.Rule(
            self._scope,
            profile.construct_id("Retraining"),
            description="Retraining on a schedule, beside what drift asks for",
            schedule=events.Schedule.rate(cdk.Duration.days(days)),
        )
        invoke(rule, start, dead_letters=dead_letters)
