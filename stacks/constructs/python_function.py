"""A Lambda function of ours: arm64, python3.13, its zip and its role hold only what it needs."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.config.sections import FunctionConfig
from stacks.constructs.function_asset import POWERTOOLS, assemble
from stacks.constructs.network import INTERFACE_ACTIONS, vpc_settings
from stacks.constructs.rights import allow, service_role
from stacks.constructs.stage_stack import Protection, protection_of, stage_of
from treeline.app.metrics import NAMESPACE
from treeline.settings.environment import EnvSettings


class PythonFunction(Construct):
    """The function of `lambdas/<name>`, with its log group and a role that may only write to that.

    Its size is that of its name in the stage's settings, unless `size` is given.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        settings: Sequence[EnvSettings] = (),  # what its environment holds
        packages: Sequence[str] = (),  # of third parties, beside Powertools
        size: FunctionConfig | None = None,
    ) -> None:
        super().__init__(scope, id_)
        stage, protection = stage_of(self), protection_of(self)
        size = size or getattr(stage.config.functions, name)
        folder, digest = assemble(name, (*POWERTOOLS, *packages), stage.platform)
        # What the logs say can be found in the tables too, so they are deleted with the stack in every stage.
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            retention=_retention(stage.config.logs.retention_days),
            encryption_key=protection.key,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.role = service_role(self, "Role", "lambda", f"Treeline {name}")
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"lambdas.{name}.handler.handler",
            code=lambda_.Code.from_asset(str(folder), asset_hash=digest, asset_hash_type=cdk.AssetHashType.CUSTOM),
            memory_size=size.memory_mb,
            timeout=cdk.Duration.seconds(size.timeout_s),
            reserved_concurrent_executions=size.reserved_concurrency,
            log_group=self.log_group,
            role=self.role,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": "INFO",
                **{key: value for each in settings for key, value in each.to_env().items()},
            },
        )
        # The group exists: no logs:CreateLogGroup. Its ARN ends in `:*`, which means its streams.
        self.allow(["logs:CreateLogStream", "logs:PutLogEvents"], [self.log_group.log_group_arn])
        if protection.security_group_id:
            self._run_in(protection)

    def _run_in(self, protection: Protection) -> None:
        """Put the function into the stage's VPC; the L2 would look the VPC up, or bring AWS's wide managed policy."""
        resource = self.function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)  # noqa: S101 -- narrows what CDK types too widely
        resource.vpc_config = vpc_settings(protection.subnet_ids, protection.security_group_id)
        self.allow(INTERFACE_ACTIONS, ["*"])  # most have no resource type

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return self.function.function_arn

    def allow(self, actions: Sequence[str], resources: Sequence[str]) -> None:
        """Allow the function `actions` on `resources`."""
        allow(self.role, actions, resources)


def _retention(days: int) -> logs.RetentionDays:
    """CDK knows retentions by name, not by days."""
    names = {1: "ONE_DAY", 3: "THREE_DAYS", 5: "FIVE_DAYS", 7: "ONE_WEEK", 14: "TWO_WEEKS", 30: "ONE_MONTH"}
    names |= {60: "TWO_MONTHS", 90: "THREE_MONTHS", 120: "FOUR_MONTHS", 150: "FIVE_MONTHS", 180: "SIX_MONTHS"}
    names |= {365: "ONE_YEAR", 400: "THIRTEEN_MONTHS", 545: "EIGHTEEN_MONTHS", 731: "TWO_YEARS"}
    return logs.RetentionDays[names[days]]
