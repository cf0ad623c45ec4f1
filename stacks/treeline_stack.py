"""What all stacks have in common: name, region, tags, termination protection, removal policy, key and network."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.config.stage import StageConfig
from stacks.constructs.protection import Protection
from treeline.settings.outputs import stack_name


class TreelineStack(cdk.Stack):
    """One part of one stage."""

    def __init__(
        self,
        scope: Construct,
        part: str,
        *,
        config: StageConfig,
        holds: str,
        keeps_data: bool = False,
        key_arn: str = "",
        security_group_id: str = "",
    ) -> None:
        super().__init__(
            scope,
            f"Treeline-{config.stage}-{part}",
            stack_name=stack_name(config.stage, part),
            description=f"Treeline {config.stage}: {holds}",
            env=cdk.Environment(region=config.region),  # the account is the one that deploys
            termination_protection=keeps_data and config.data.termination_protection,
            tags={"treeline:stage": config.stage, "treeline:part": part},
        )
        self.config = config
        self.removal_policy = cdk.RemovalPolicy.RETAIN if config.data.retain else cdk.RemovalPolicy.DESTROY
        # By ARN: a key of this app would have its policy changed by every stack that uses it, in a circle.
        key = kms.Key.from_key_arn(self, "StageKey", key_arn) if key_arn else None
        subnets = config.network.subnet_ids if security_group_id else ()
        self.protection = Protection(key=key, subnet_ids=subnets, security_group_id=security_group_id)

    def tell(self, key: str, value: str, what: str) -> None:
        """Declare an output of treeline/settings/outputs.py."""
        cdk.CfnOutput(self, key, value=value, description=what)
