"""The key and the network of a stage, as its constructs find them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from constructs import Construct


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How one stack's resources are protected.

    Attributes:
        key: The stage's key; None where AWS's own keys are used.
        subnet_ids, security_group_id: Where functions run; empty outside a VPC.
    """

    key: kms.IKey | None = None
    subnet_ids: tuple[str, ...] = ()
    security_group_id: str = ""


@runtime_checkable
class Protected(Protocol):
    """A stack that says so."""

    protection: Protection


def protection_of(scope: Construct) -> Protection:
    """That of the stack of `scope`."""
    stack = cdk.Stack.of(scope)
    return stack.protection if isinstance(stack, Protected) else Protection()
