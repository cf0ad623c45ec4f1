"""Set what the emulator's CloudFormation drops, through the public APIs, as the template says it."""

from collections.abc import Mapping
from typing import Any

from emulator.deployment.assembly import StackTemplate
from emulator.loopback.clients import ClientOf


def apply_dropped_settings(clients: ClientOf, stack: StackTemplate) -> list[str]:
    """Set time to live, bucket lifecycle and HTTP subscriptions of a deployed stack; says what it set."""
    resources = clients("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    physical = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources}
    done = []
    for logical_id, resource in stack.resources().items():
        name, properties = physical.get(logical_id), resource.get("Properties", {})
        if name is None:
            continue
        match resource["Type"]:
            case "AWS::DynamoDB::Table" | "AWS::DynamoDB::GlobalTable":
                done += _time_to_live(clients("dynamodb"), name, properties)
            case "AWS::S3::Bucket":
                done += _lifecycle(clients("s3"), name, properties)
            case "AWS::SNS::Subscription":
                done += _http_subscription(clients("sns"), name, properties)
    return done


def _time_to_live(dynamodb: Any, table: str, properties: Mapping[str, Any]) -> list[str]:
    wanted = properties.get("TimeToLiveSpecification")
    if not wanted or not wanted.get("Enabled"):
        return []
    now = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if now.get("AttributeName") == wanted["AttributeName"] and now["TimeToLiveStatus"] == "ENABLED":
        return []
    dynamodb.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": wanted["AttributeName"]}
    )
    return [f"{table}: time to live on {wanted['AttributeName']}"]


def _lifecycle(s3: Any, bucket: str, properties: Mapping[str, Any]) -> list[str]:
    rules = properties.get("LifecycleConfiguration", {}).get("Rules", [])
    if not rules:
        return []
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [_rule(i, rule) for i, rule in enumerate(rules)]}
    )
    return [f"{bucket}: {len(rules)} lifecycle rules"]


def _rule(index: int, rule: Mapping[str, Any]) -> dict[str, Any]:
    """CloudFormation spells a lifecycle rule differently from the API."""
    wanted: dict[str, Any] = {
        "ID": rule.get("Id", f"rule-{index}"),
        "Status": rule["Status"],
        "Filter": {"Prefix": rule.get("Prefix", "")},
    }
    if "ExpirationInDays" in rule:
        wanted["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    noncurrent = rule.get("NoncurrentVersionExpiration")
    if noncurrent:
        wanted["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(noncurrent["NoncurrentDays"])}
    if "AbortIncompleteMultipartUpload" in rule:
        days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        wanted["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    if "Transitions" in rule:
        wanted["Transitions"] = [
            {"Days": int(t["TransitionInDays"]), "StorageClass": t["StorageClass"]} for t in rule["Transitions"]
        ]
    return wanted


def _http_subscription(sns: Any, arn: str, properties: Mapping[str, Any]) -> list[str]:
    """A subscription made by a template gets no confirmation request here; one made by the API does."""
    protocol, endpoint = properties.get("Protocol"), properties.get("Endpoint")
    if protocol not in ("http", "https") or not isinstance(endpoint, str):
        return []
    topic = arn.rsplit(":", 1)[0]
    sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint, ReturnSubscriptionArn=True)
    return [f"{topic}: subscribed {endpoint} again"]
