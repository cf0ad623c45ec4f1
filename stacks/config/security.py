"""Whose keys encrypt, and which network the functions run in: `encryption` and `network` in `config/<stage>.yaml`."""

import re
from dataclasses import dataclass

from treeline.core.setting import Settings, WrongSettingError, setting

OWN_KEY = "own"


@dataclass(frozen=True, kw_only=True)
class EncryptionConfig(Settings):
    """The key of tables, stream, queues, topics, buckets, logs and the routing key's secret."""

    key: str = setting(
        "", meaning="Empty: AWS's own keys; own: one that the stack of state makes; or the ARN of a key of yours."
    )

    def fits(self, region: str) -> bool:
        """Whether a stack in `region` can use the key; an alias cannot be followed there."""
        arn = rf"arn:aws[\w-]*:kms:{region}:\d{{12}}:key/[\w-]+"
        return self.key in ("", OWN_KEY) or re.fullmatch(arn, self.key) is not None


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Settings):
    """The VPC that the functions run in. Nothing is looked up: what is needed of it stands here."""

    vpc_id: str = setting("", meaning="Empty: no VPC.")
    subnet_ids: tuple[str, ...] = setting((), meaning="Private ones, one per availability zone.")
    endpoints: bool = setting(
        True,
        meaning="Make endpoints of the services that functions call; false where the VPC has them, or a way out by "
        "NAT.",
    )
    route_table_ids: tuple[str, ...] = setting(
        (), meaning="Of the subnets: gateway endpoints of S3 and DynamoDB stand in them."
    )

    @property
    def is_on(self) -> bool:
        """Whether functions run in a VPC."""
        return bool(self.vpc_id)

    def check(self) -> None:
        """What is needed of the VPC is there."""
        if not self.is_on:
            if self.subnet_ids or self.route_table_ids:
                raise WrongSettingError("vpc_id", "must be set where subnets or route tables are")
            return
        if not self.subnet_ids:
            raise WrongSettingError("subnet_ids", "must name the subnets of the functions; nothing is looked up")
        if self.endpoints and not self.route_table_ids:
            raise WrongSettingError("route_table_ids", "must name the subnets' route tables where endpoints is true")
        for name, prefix, values in (
            ("vpc_id", "vpc", (self.vpc_id,)),
            ("subnet_ids", "subnet", self.subnet_ids),
            ("route_table_ids", "rtb", self.route_table_ids),
        ):
            for value in values:
                if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", value):
                    raise WrongSettingError(name, f"must be an id such as {prefix}-0123456789abcdef0, got {value!r}")
