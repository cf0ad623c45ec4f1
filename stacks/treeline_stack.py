"""What all stacks have in common: name, region, tags, termination protection, removal policy."""

import aws_cdk as cdk
from constructs import Construct

from stacks.config import StageConfig
from stacks.outputs import stack_name


class TreelineStack(cdk.Stack):
    """One part of one stage."""

    def __init__(
        self, scope: Construct, part: str, *, config: StageConfig, holds: str, keeps_data: bool = False
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

    def tell(self, key: str, value: str, what: str) -> None:
        """Declare an output of stacks/outputs.py."""
        cdk.CfnOutput(self, key, value=value, description=what)
