"""What the embedded cloud does not do is told of every property that is used, and only of those."""

from typing import Any

import pytest

from emulator.deployment.no_ops import find_no_ops


def _told(kind: str, **properties: Any) -> str:
    return "; ".join(no_op.not_done for no_op in find_no_ops([{"It": {"Type": kind, "Properties": properties}}]))


@pytest.mark.parametrize(
    ("kind", "properties", "told"),
    [
        ("AWS::DynamoDB::GlobalTable", {"WriteProvisionedThroughputSettings": {}}, "nothing is throttled"),
        ("AWS::DynamoDB::GlobalTable", {"Replicas": []}, "provisioned reads neither throttle nor scale"),
        ("AWS::DynamoDB::GlobalTable", {"TimeToLiveSpecification": {}}, "within a minute"),
        ("AWS::Lambda::EventInvokeConfig", {}, "no on-failure destination"),
        ("AWS::Events::Rule", {"Targets": []}, "no dead-letter queue"),
        ("AWS::Lambda::Function", {"VpcConfig": {}}, "network isolation"),
        ("AWS::EC2::VPCEndpoint", {}, "no network isolation"),
        ("AWS::Logs::LogGroup", {"KmsKeyId": "key"}, "not encrypted"),
        ("AWS::SecretsManager::Secret", {"KmsKeyId": "key"}, "not encrypted"),
    ],
)
def test_what_is_not_done_is_told(kind: str, properties: dict[str, Any], told: str):
    assert told in _told(kind, **properties)


def test_a_table_on_demand_is_not_said_to_be_provisioned():
    assert "throttled" not in _told("AWS::DynamoDB::GlobalTable", BillingMode="PAY_PER_REQUEST")
