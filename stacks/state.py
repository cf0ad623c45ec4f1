"""State: the tables and the buckets, everything that must outlive a deployment."""

from typing import Any, TypeGuard

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.config.sections import CapacityConfig
from stacks.config.security import OWN_KEY
from stacks.config.stage import StageConfig
from stacks.constructs.function_asset import AssetPlatform
from stacks.constructs.network import Network
from stacks.constructs.private_bucket import PrivateBucket
from stacks.constructs.stage_key import StageKey
from stacks.constructs.stage_stack import Protection
from stacks.constructs.stores import STATE_INDEX
from stacks.treeline_stack import TreelineStack
from treeline.settings import outputs

TTL_ATTRIBUTE = "expires_at"
GROUP_INDEX = "by-group"
SERVER_INDEX = "by-server"

_TEXT = dynamodb.AttributeType.STRING
_NUMBER = dynamodb.AttributeType.NUMBER


class StateStack(TreelineStack):
    """Tables on demand with point-in-time recovery, and two buckets.

    A further profile has all of them again but the ledger of pages. `servers` is then the state of the servers'
    profile: its key and network are used, and its mutes and maintenance windows hold here too, as they name servers.
    """

    def __init__(
        self, scope: Construct, *, config: StageConfig, platform: AssetPlatform, servers: "StateStack | None" = None
    ) -> None:
        super().__init__(
            scope, outputs.STATE, holds="tables and buckets", config=config, platform=platform, keeps_data=True
        )
        if servers is None:
            self.key_arn, self.security_group_id = self._protection()
        else:
            self.key_arn, self.security_group_id = servers.key_arn, servers.security_group_id
            self.protect(self.key_arn, self.security_group_id)
        self.observations = self._table(
            "Observations", ("server_id", _TEXT), ("observed_at", _TEXT), ttl=True,
            indexes=[(GROUP_INDEX, ("group", _NUMBER), ("group_sort", _TEXT))],
            capacity=config.tables.observations,
        )  # fmt: skip
        self.servers = self._table("Servers", ("server_id", _TEXT))
        self.detector_state = self._table(
            "DetectorState", ("group", _NUMBER), ("model_version", _TEXT), ttl=True,
            capacity=config.tables.detector_state,
        )  # fmt: skip
        self.scores = self._table(
            "Scores", ("group", _NUMBER), ("tick", _TEXT), ttl=True, capacity=config.tables.scores
        )
        self.incidents = self._table(
            "Incidents", ("incident_id", _TEXT),
            indexes=[
                (STATE_INDEX, ("state", _TEXT), ("opened_at", _TEXT)),
                (SERVER_INDEX, ("server_id", _TEXT), ("opened_at", _TEXT)),
            ],
        )  # fmt: skip
        self.rollups = self._table("Rollups", ("scope", _TEXT), ("hour", _TEXT))
        self.controls = self._table("Controls", ("kind", _TEXT), ("id", _TEXT))
        self.mutes = self.controls if servers is None else servers.controls
        if servers is None:
            self.pages = self._table("Pages", ("dedup_key", _TEXT), ttl=True)
            self.tell(outputs.PAGES_TABLE, self.pages.table_name, "DynamoDB table Pages")

        self.quarantine = self._bucket("Quarantine", expire_after=Duration.days(config.records.quarantine_days))
        self.models = self._bucket("Models", versioned=True, capture_days=config.promotion.capture_days)

        for key, table in (
            (outputs.OBSERVATIONS_TABLE, self.observations),
            (outputs.SERVERS_TABLE, self.servers),
            (outputs.DETECTOR_STATE_TABLE, self.detector_state),
            (outputs.SCORES_TABLE, self.scores),
            (outputs.INCIDENTS_TABLE, self.incidents),
            (outputs.ROLLUPS_TABLE, self.rollups),
            (outputs.CONTROLS_TABLE, self.controls),
        ):
            self.tell(key, table.table_name, f"DynamoDB table {key.removesuffix('Table')}")
        self.tell(outputs.QUARANTINE_BUCKET, self.quarantine.bucket_name, "Rejected records with their reasons")
        self.tell(outputs.MODELS_BUCKET, self.models.bucket_name, "Model packages and forests")

    def _protection(self) -> tuple[str, str]:
        """The key's ARN and the functions' security group, as the other stacks refer to them."""
        config = self.config
        key_arn, security_group_id = config.encryption.key, ""
        if config.encryption.key == OWN_KEY:
            own = StageKey(self, "Stage", stage=config.stage, removal_policy=self.removal_policy)
            key_arn = own.key.key_arn
        if key_arn:
            self.protection = Protection(key=kms.Key.from_key_arn(self, "StageKey", key_arn))
        if config.network.is_on:
            network = Network(
                self,
                "Network",
                config=config.network,
                region=config.region,
                stage=config.stage,
                has_model_endpoints=any(not profile.is_embedded for profile in config.all_profiles),
            )
            security_group_id = network.security_group_id
        return key_arn, security_group_id

    def _table(
        self,
        id_: str,
        partition: tuple[str, dynamodb.AttributeType],
        sort: tuple[str, dynamodb.AttributeType] | None = None,
        *,
        ttl: bool = False,
        indexes: list[tuple[str, tuple[str, dynamodb.AttributeType], tuple[str, dynamodb.AttributeType]]] | None = None,
        capacity: CapacityConfig | None = None,
    ) -> dynamodb.TableV2:
        def attribute(key: tuple[str, dynamodb.AttributeType]) -> dynamodb.Attribute:
            return dynamodb.Attribute(name=key[0], type=key[1])

        return dynamodb.TableV2(
            self,
            id_,
            partition_key=attribute(partition),
            sort_key=attribute(sort) if sort else None,
            billing=_billing(capacity),
            encryption=self._table_encryption(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=TTL_ATTRIBUTE if ttl else None,
            deletion_protection=self.config.data.termination_protection,
            removal_policy=self.removal_policy,
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=name,
                    partition_key=attribute(hash_key),
                    sort_key=attribute(range_key),
                    **_index_capacity(capacity),
                )
                for name, hash_key, range_key in indexes or []
            ]
            or None,
        )

    def _table_encryption(self) -> dynamodb.TableEncryptionV2:
        if self.protection.key is not None:
            return dynamodb.TableEncryptionV2.customer_managed_key(self.protection.key)
        # AWS's own key for DynamoDB in this account: its use shows in CloudTrail, it has no monthly fee.
        return dynamodb.TableEncryptionV2.aws_managed_key()

    def _bucket(
        self,
        id_: str,
        *,
        versioned: bool = False,
        expire_after: Duration | None = None,
        capture_days: int | None = None,
    ) -> s3.Bucket:
        rules = []
        if expire_after is not None:
            rules.append(s3.LifecycleRule(id="expire", expiration=expire_after))
        if capture_days is not None:  # what endpoints sample of their requests (stacks/constructs/promotion.py)
            rules.append(s3.LifecycleRule(id="capture", prefix="capture/", expiration=Duration.days(capture_days)))
        if versioned:
            rules.append(s3.LifecycleRule(id="old-versions", noncurrent_version_expiration=Duration.days(365)))
        return PrivateBucket(self, id_, removal_policy=self.removal_policy, rules=rules, versioned=versioned)


def _is_provisioned(capacity: CapacityConfig | None) -> TypeGuard[CapacityConfig]:
    return capacity is not None and capacity.capacity == "provisioned"


def _autoscaled(capacity: CapacityConfig) -> dynamodb.Capacity:
    return dynamodb.Capacity.autoscaled(
        min_capacity=capacity.min_units,
        max_capacity=capacity.max_units,
        # CloudFormation demands it of a table that was on demand before, until its scaling is set up.
        seed_capacity=capacity.min_units,
        target_utilization_percent=capacity.utilization_percent,
    )


def _billing(capacity: CapacityConfig | None) -> dynamodb.Billing:
    if not _is_provisioned(capacity):
        return dynamodb.Billing.on_demand()
    return dynamodb.Billing.provisioned(read_capacity=_autoscaled(capacity), write_capacity=_autoscaled(capacity))


def _index_capacity(capacity: CapacityConfig | None) -> dict[str, Any]:
    """An index scales by itself: one that lags behind its table would hold up the table's writes."""
    if not _is_provisioned(capacity):
        return {}
    return {"read_capacity": _autoscaled(capacity), "write_capacity": _autoscaled(capacity)}
