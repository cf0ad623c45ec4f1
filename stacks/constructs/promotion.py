"""The promotion workflow. It owns the endpoint: no template holds one, so no deployment touches a canary.

Where the scorer is embedded there is no endpoint, and neither the role of one nor leave to make one.
"""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.config.stage import StageConfig
from stacks.constructs.model_function import ModelFunction, allow_telling, change_settings
from stacks.constructs.operations_alarm import OperationsAlarm, errors
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue
from stacks.constructs.rights import allow, allow_container, allow_passing, sagemaker_arn, service_role
from stacks.constructs.rule_target import invoke
from stacks.constructs.stage_stack import protection_of
from stacks.constructs.stores import Stores
from stacks.workflows.promotion import definition
from treeline.settings.outputs import stack_name
from treeline.settings.promotion import ApprovalSettings, PromotionSettings

_DAY_S = 86_400
CAPTURE_PREFIX = "capture"


class Promotion(Construct):
    """From an approved model package to the model that decides."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        config: StageConfig,
        state: Stores,
        changes: sns.ITopic,
        model_group: str,
        events_dead: DeadLetterQueue,
        routing_key: secretsmanager.ISecret | None = None,
        image_repository_arns: tuple[str, ...] = (),
    ) -> None:
        super().__init__(scope, id_)
        self._config = config
        self._stack = cdk.Stack.of(self)
        hosting_role = None if config.is_embedded else self._hosting_role(state, image_repository_arns)
        self.step = self._step(state, changes, model_group, routing_key, hosting_role)
        self.state_machine = self._state_machine()
        # A step asks whether the execution that began a promotion still runs.
        self.step.allow(["states:DescribeExecution"], [self._execution_arn()])
        self.approval = self._approval(model_group, events_dead)  # starts it for every approved package, once
        self._alarms()

    def _hosting_role(self, state: Stores, image_repository_arns: tuple[str, ...]) -> iam.Role:
        role = service_role(self, "HostingRole", "sagemaker", "Treeline models on their endpoint")
        allow(role, ["s3:GetObject"], [state.models.arn_for_objects("*")])
        allow(role, ["s3:PutObject"], [state.models.arn_for_objects(f"{CAPTURE_PREFIX}/*")])
        allow_container(role, log_groups="Endpoints/*", repository_arns=image_repository_arns)
        return role

    def _step(
        self,
        state: Stores,
        changes: sns.ITopic,
        model_group: str,
        routing_key: secretsmanager.ISecret | None,
        hosting_role: iam.Role | None,
    ) -> ModelFunction:
        config, promotion = self._config, self._config.promotion
        is_captured = promotion.capture_percent and not config.is_embedded
        step = ModelFunction(
            self,
            "Step",
            name="promotion",
            description="One step of a promotion",
            settings=[
                PromotionSettings.of(
                    promotion,
                    config,
                    stage=config.deployment,
                    endpoint_name=config.endpoint_name,
                    execution_role_arn="" if hosting_role is None else hosting_role.role_arn,
                    model_group=model_group,
                    capture_url=f"s3://{state.models.bucket_name}/{CAPTURE_PREFIX}" if is_captured else "",
                ),
                change_settings(config, changes, routing_key),
            ],
            state=state,
        )
        allow_telling(step, changes, routing_key)
        step.allow_history(state)
        step.allow(["dynamodb:GetItem", "dynamodb:Query"], [state.rollups.table_arn])
        step.allow(["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"], [state.controls.table_arn])
        step.allow(["s3:GetObject"], [state.models.arn_for_objects("*")])  # does a model's data exist?
        step.allow(["s3:ListBucket"], [state.models.bucket_arn])  # else a missing object is a 403
        step.allow(["sagemaker:DescribeModelPackage"], [sagemaker_arn(self, "model-package", f"{model_group}/*")])
        if hosting_role is not None:
            self._allow_hosting(step, hosting_role)
        return step

    def _allow_hosting(self, step: PythonFunction, hosting_role: iam.Role) -> None:
        """The endpoint, its configurations, the models on it, and its scaling."""
        name = self._config.endpoint_name.lower()
        endpoint = sagemaker_arn(self, "endpoint", name)
        config_arn = sagemaker_arn(self, "endpoint-config", f"{name}-*")
        step.allow(["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"], [endpoint, config_arn])
        step.allow(["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"], [endpoint])
        # The endpoint's first configuration may be somebody else's, of any name.
        step.allow(["sagemaker:DescribeEndpointConfig"], [sagemaker_arn(self, "endpoint-config", "*")])
        step.allow(["sagemaker:CreateEndpointConfig", "sagemaker:DeleteEndpointConfig"], [config_arn])
        step.allow(["sagemaker:ListEndpointConfigs"], ["*"])  # has no resource type
        step.allow(["sagemaker:CreateModel", "sagemaker:DescribeModel"], [sagemaker_arn(self, "model", "*")])
        allow_passing(step.role, hosting_role)
        self._allow_scaling(step)

    def _allow_scaling(self, step: PythonFunction) -> None:
        """Autoscaling of the endpoint's variants."""
        target = self._stack.format_arn(
            service="application-autoscaling", resource="scalable-target", resource_name="*"
        )
        verbs = ("RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy")
        step.allow([f"application-autoscaling:{verb}" for verb in verbs], [target])
        alarms = self._stack.format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name="TargetTracking-*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        step.allow(["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"], [alarms])
        step.allow(
            ["sagemaker:UpdateEndpointWeightsAndCapacities"],
            [sagemaker_arn(self, "endpoint", self._config.endpoint_name.lower())],
        )
        scaling = "sagemaker.application-autoscaling.amazonaws.com"
        linked_role = self._stack.format_arn(
            service="iam",
            region="",
            resource="role",
            resource_name=f"aws-service-role/{scaling}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
        )
        of_scaling = {"StringLike": {"iam:AWSServiceName": scaling}}
        allow(step.role, ["iam:CreateServiceLinkedRole"], [linked_role], of_scaling)

    def _state_machine(self) -> sfn.StateMachine:
        role = service_role(self, "WorkflowRole", "states", "Treeline promotion workflow")
        allow(role, ["lambda:InvokeFunction"], [self.step.function.function_arn])
        config = self._config
        workflow = stack_name(config.stage, "promotion", config.further)
        timeout_s = config.promotion.max_wait_s + _DAY_S
        body = definition(self.step.function.function_arn, timeout_s=timeout_s)
        return sfn.StateMachine(
            self,
            "Workflow",
            comment="Promotes a model",
            definition_body=sfn.DefinitionBody.from_string(self._stack.to_json_string(body)),
            role=role,
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=logs.LogGroup(
                    self,
                    "WorkflowLogs",
                    # Step Functions asks for the prefix: without it the account's log policy grows to its limit.
                    log_group_name=f"/aws/vendedlogs/states/{workflow}",
                    retention=logs.RetentionDays.THREE_MONTHS,
                    encryption_key=protection_of(self).key,
                    removal_policy=cdk.RemovalPolicy.DESTROY,
                ),
                level=sfn.LogLevel.ALL,
                include_execution_data=True,
            ),
        )

    def _approval(self, model_group: str, events_dead: DeadLetterQueue) -> PythonFunction:
        config = self._config
        approval = PythonFunction(
            self,
            "Approval",
            name="approval",
            description="Starts the promotion of an approved model package, once",
            settings=[
                ApprovalSettings.of(
                    config.promotion, stage=config.deployment, state_machine_arn=self.state_machine.state_machine_arn
                )
            ],
        )
        approval.allow(["states:StartExecution"], [self.state_machine.state_machine_arn])
        rule = events.Rule(
            self,
            "Approved",
            description="A model package of ours was approved",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Package State Change"],
                detail={"ModelPackageGroupName": [model_group], "ModelApprovalStatus": ["Approved"]},
            ),
        )
        invoke(rule, approval, dead_letters=events_dead, retry_attempts=8)
        return approval

    def _alarms(self) -> None:
        OperationsAlarm(
            self,
            "PromotionRolledBack",
            "Was a model not promoted, so that the fleet goes on with the one before?",
            self.state_machine.metric_failed(period=cdk.Duration.minutes(1), statistic="Sum"),
        )
        OperationsAlarm(
            self,
            "PromotionTimedOut",
            "Did a promotion come to no end?",
            self.state_machine.metric_timed_out(period=cdk.Duration.minutes(1), statistic="Sum"),
            runbook="promotion-rolled-back",
        )
        OperationsAlarm(
            self,
            "ApprovalErrors",
            "Does approval raise, so that an approved model is not promoted?",
            errors(self.approval.function),
        )

    def _execution_arn(self) -> str:
        # Not from the state machine: it depends on this function. Its generated name starts with the stack's parts.
        return self._stack.format_arn(
            service="states", resource="execution", resource_name="*:*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
