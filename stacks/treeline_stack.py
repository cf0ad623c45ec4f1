"""What all stacks have in common: name, region, tags, termination protection, removal policy, key and network."""

from typing import Protocol

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.config.stage import StageConfig
from stacks.constructs.function_asset import AssetPlatform
from stacks.constructs.stage_stack import Protection
from treeline.settings.outputs import part_of, stack_name


class Foundation(Protocol):
    """What the stack of state is to the others: settings, and the key and network that protect all."""

    config: StageConfig
    platform: AssetPlatform
    key_arn: str
    security_group_id: str


class TreelineStack(cdk.Stack):
    """One part of one stage, or of one of its further profiles."""

    operations: sns.ITopic  # of alarms on Treeline itself; the stack of state, which has no alarms, has none

    def __init__(
        self,
        scope: Construct,
        part: str,
        *,
        holds: str,
        config: StageConfig,
        platform: AssetPlatform,
        keeps_data: bool = False,
    ) -> None:
        super().__init__(
            scope,
            f"Treeline-{config.stage}-{part_of(part, config.further)}",
            stack_name=stack_name(config.stage, part, config.further),
            description=f"Treeline {config.deployment}: {holds}",
            env=cdk.Environment(region=config.region),  # the account is the one that deploys
            termination_protection=keeps_data and config.data.termination_protection,
            tags={"treeline:stage": config.stage, "treeline:part": part_of(part, config.further)},
        )
        self.config = config
        self.platform = platform
        self.removal_policy = cdk.RemovalPolicy.RETAIN if config.data.retain else cdk.RemovalPolicy.DESTROY
        self.protection = Protection()

    def protect(self, key_arn: str, security_group_id: str) -> None:
        """Use the stage's key and network from here on."""
        # By ARN: a key of this app would have its policy changed by every stack that uses it, in a circle.
        key = kms.Key.from_key_arn(self, "StageKey", key_arn) if key_arn else None
        subnets = self.config.network.subnet_ids if security_group_id else ()
        self.protection = Protection(key=key, subnet_ids=subnets, security_group_id=security_group_id)

    def tell(self, key: str, value: str, what: str) -> None:
        """Declare an output of treeline/settings/outputs.py."""
        cdk.CfnOutput(self, key, value=value, description=what)


class StackOnState(TreelineStack):
    """A part that comes after the stack of state, with its settings, key and network."""

    def __init__(self, scope: Construct, part: str, *, holds: str, state: Foundation) -> None:
        super().__init__(scope, part, holds=holds, config=state.config, platform=state.platform)
        self.protect(state.key_arn, state.security_group_id)
