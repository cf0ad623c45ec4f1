"""What constructs take from the stack they stand in: settings, how resources are protected, and whom alarms tell."""

from dataclasses import dataclass
from typing import Protocol, cast

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.config.stage import StageConfig
from stacks.constructs.function_asset import AssetPlatform


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How one stack's resources are protected."""

    key: kms.IKey | None = None  # the stage's key; None where AWS's own keys are used
    # Where functions run; empty outside a VPC.
    subnet_ids: tuple[str, ...] = ()
    security_group_id: str = ""


class StageStack(Protocol):
    """One part of one stage, as `stacks.treeline_stack.TreelineStack` is."""

    config: StageConfig
    platform: AssetPlatform
    operations: sns.ITopic
    protection: Protection


def stage_of(scope: Construct) -> StageStack:
    """The stack of `scope`."""
    return cast(StageStack, cdk.Stack.of(scope))


def protection_of(scope: Construct) -> Protection:
    """That of the stack of `scope`; a stack that is not a stage's has none."""
    return getattr(cdk.Stack.of(scope), "protection", Protection())
