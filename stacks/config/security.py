"""Whose keys encrypt, and which network the functions run in: `encryption` and `network` in `config/<stage>.yaml`."""

import re
from collections.abc import Callable
from dataclasses import dataclass

OWN_KEY = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionConfig:
    """The key of tables, stream, queues, topics, buckets, logs and the routing key's secret."""

    key: str = ""  # empty: AWS's own keys; own: one that the stack of state makes; or the ARN of a key of yours


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The VPC that the functions run in. Nothing is looked up: what is needed of it stands here."""

    vpc_id: str = ""  # empty: no VPC
    subnet_ids: tuple[str, ...] = ()  # private ones, one per availability zone
    # Endpoints of the services that functions call; false where the VPC has them, or a way out by NAT.
    endpoints: bool = True
    route_table_ids: tuple[str, ...] = ()  # of the subnets: gateway endpoints of S3 and DynamoDB stand in them

    @property
    def is_on(self) -> bool:
        """Whether functions run in a VPC."""
        return bool(self.vpc_id)


def check(
    encryption: EncryptionConfig, network: NetworkConfig, region: str, refuse: Callable[[str, str], None]
) -> None:
    """Refuse what cannot be, by key and reason."""
    key = encryption.key
    if key not in ("", OWN_KEY) and not re.fullmatch(rf"arn:aws[\w-]*:kms:{region}:\d{{12}}:key/[\w-]+", key):
        refuse("encryption.key", f"must be empty, {OWN_KEY} or the ARN of a key (no alias) in {region}, got {key!r}")
    if not network.is_on:
        if network.subnet_ids or network.route_table_ids:
            refuse("network.vpc_id", "must be set where subnets or route tables are")
        return
    if not network.subnet_ids:
        refuse("network.subnet_ids", "must name the subnets of the functions; nothing is looked up")
    if network.endpoints and not network.route_table_ids:
        refuse("network.route_table_ids", "must name the subnets' route tables where network.endpoints is true")
    for name, prefix, values in (
        ("vpc_id", "vpc", (network.vpc_id,)),
        ("subnet_ids", "subnet", network.subnet_ids),
        ("route_table_ids", "rtb", network.route_table_ids),
    ):
        for value in values:
            if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", value):
                refuse(f"network.{name}", f"must be an id such as {prefix}-0123456789abcdef0, got {value!r}")
