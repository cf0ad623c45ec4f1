"""A stage with a key of its own, in a VPC: everything uses them, other people's rules find nothing, nobody looks up."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from stacks.config.stage import load
from stacks.constructs.network import INTERFACES, OF_MODEL_ENDPOINTS
from stacks.synthesize import synthesize
from tests.infra.templates import Stage, listed, told
from treeline.core.errors import SettingsError

NETWORK: dict[str, Any] = {
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "route_table_ids": ["rtb-0123456789abcdef0"],
}
KEY = "arn:aws:kms:us-east-1:111122223333:key/0d9b6ba9-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Stage:
    """Production, with both switched on, checked by cdk-nag and the CDK's own rules."""
    folder: Path = tmp_path_factory.mktemp("protected")
    people = {"alert_emails": ["oncall@example.com"], "operations_emails": ["ops@example.com"]}
    overrides = {"encryption": {"key": "own"}, "network": NETWORK, "notifications": people}
    made = synthesize(folder, "prod", asset_platform="host", overrides=overrides, validate=True, root=checkout)
    return Stage("prod", made)


def test_everything_stored_uses_the_stages_own_key(protected: Stage):
    key = "PublishOutput"  # how other stacks refer to the key of the stack of state
    for kind, of in (
        ("AWS::SQS::Queue", lambda p: p["KmsMasterKeyId"]),
        ("AWS::SNS::Topic", lambda p: p["KmsMasterKeyId"]),
        ("AWS::Kinesis::Stream", lambda p: p["StreamEncryption"]["KeyId"]),
        ("AWS::Logs::LogGroup", lambda p: p["KmsKeyId"]),
        ("AWS::SecretsManager::Secret", lambda p: p["KmsKeyId"]),
        ("AWS::S3::Bucket", lambda p: p["BucketEncryption"]["ServerSideEncryptionConfiguration"]),
        ("AWS::DynamoDB::GlobalTable", lambda p: p["Replicas"][0]["SSESpecification"]["KMSMasterKeyId"]),
    ):
        found = protected.resources(kind)
        assert found, kind
        for name, properties in found.items():
            used = told(of(properties))
            assert "StageKey" in used, name
            assert name.startswith("state/") or key in used, name
    assert [k for k in protected.resources("AWS::KMS::Key") if "StageKey" not in k] == []


def test_the_key_outlives_the_stack_as_the_data_does_and_is_used_through_services_only(protected: Stage):
    (resource,) = [r for r in protected.template("state")["Resources"].values() if r["Type"] == "AWS::KMS::Key"]
    statements = resource["Properties"]["KeyPolicy"]["Statement"]

    assert resource["DeletionPolicy"] == "Retain"
    assert resource["Properties"]["EnableKeyRotation"] is True
    (anybody,) = [s for s in statements if s["Principal"] == {"AWS": "*"}]
    assert set(anybody["Condition"]["StringEquals"]) == {"kms:CallerAccount", "kms:ViaService"}
    services = {service.split(".")[0] for s in statements for service in listed(s["Principal"].get("Service", []))}
    assert services == {"cloudwatch", "sns", "events", "logs"}
    assert [s for s in statements if "Service" in s["Principal"] and not s.get("Condition")] == []


def test_every_function_runs_in_the_vpc_and_may_make_its_interfaces(protected: Stage):
    functions = protected.resources("AWS::Lambda::Function")
    allowed = [s for _, s in protected.statements() if "ec2:CreateNetworkInterface" in s["Action"]]

    assert len(functions) >= 14
    for name, function in functions.items():
        assert function["VpcConfig"]["SubnetIds"] == NETWORK["subnet_ids"], name
        assert "NetworkFunctions" in told(function["VpcConfig"]["SecurityGroupIds"]), name
    assert len(allowed) == len(functions)


def test_the_services_that_functions_call_have_endpoints_and_nothing_may_come_in_but_from_functions(protected: Stage):
    endpoints = protected.resources("AWS::EC2::VPCEndpoint").values()
    names = {e["ServiceName"].removeprefix("com.amazonaws.us-east-1.") for e in endpoints}
    ingress = list(
        itertools.chain(
            *(g.get("SecurityGroupIngress", []) for g in protected.resources("AWS::EC2::SecurityGroup").values())
        )
    )

    assert names == {"dynamodb", "s3", *INTERFACES, *OF_MODEL_ENDPOINTS}
    assert [(rule["FromPort"], rule["ToPort"]) for rule in ingress] == [(443, 443)]
    assert "NetworkFunctions" in told(ingress[0]["SourceSecurityGroupId"])


def test_cdk_nag_finds_nothing_that_is_not_explained(protected: Stage):
    report = json.loads((protected.folder / "validation-report.json").read_text(encoding="utf-8"))

    assert [plugin["violations"] for plugin in report["pluginReports"]] == []


def test_nothing_is_looked_up(protected: Stage):
    manifest = json.loads((protected.folder / "manifest.json").read_text(encoding="utf-8"))

    assert "missing" not in manifest


def test_without_either_there_is_no_key_and_no_network(stage: Stage):
    assert list(stage.resources("AWS::KMS::Key")) == [k for k in stage.resources("AWS::KMS::Key") if "Operations" in k]
    assert stage.resources("AWS::EC2::SecurityGroup") == {}
    assert [n for n, f in stage.resources("AWS::Lambda::Function").items() if "VpcConfig" in f] == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"encryption": {"key": "alias/mine"}}, "encryption.key: must be empty, own or the ARN of a key"),
        ({"encryption": {"key": KEY.replace("us-east-1", "eu-west-1")}}, "encryption.key: .* in us-east-1"),
        ({"network": {"vpc_id": "vpc-0123456789abcdef0"}}, "network.subnet_ids: must name the subnets"),
        ({"network": {"subnet_ids": ["subnet-01234567"]}}, "network.vpc_id: must be set"),
        ({"network": {**NETWORK, "route_table_ids": []}}, "network.route_table_ids: must name"),
        ({"network": {**NETWORK, "subnet_ids": ["public"]}}, "network.subnet_ids: must be an id"),
    ],
)
def test_what_cannot_be_is_refused(overrides: dict[str, Any], message: str):
    with pytest.raises(SettingsError, match=message):
        load("prod", overrides)


def test_a_key_that_exists_is_taken_as_it_is():
    assert load("prod", {"encryption": {"key": KEY}}).encryption.key == KEY
