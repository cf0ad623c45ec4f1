"""A small system to test the embedded cloud with: Kinesis -> function -> DynamoDB, SQS -> function -> DynamoDB."""

import json
from pathlib import Path

# The functions do what the record or message says, so one pair of functions serves every test.
STREAM_FUNCTION = """
import base64, json, os, time
import boto3
from botocore.config import Config
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])

def handler(event, context):
    failures = []
    records = [r["kinesis"] for r in event["Records"]]
    bodies = [(r["sequenceNumber"], json.loads(base64.b64decode(r["data"]))) for r in records]
    print(json.dumps({"delivered": [b.get("n") for _, b in bodies]}))
    with table.batch_writer() as batch:
        for number, body in bodies:
            match body.get("do", "store"):
                case "raise":
                    raise RuntimeError("told to")
                case "fail":
                    failures.append({"itemIdentifier": number})
                case "metric":
                    metrics = [{"Name": "Seen", "Unit": "Count"}]
                    directive = {"Namespace": "Small", "Dimensions": [["stage"]], "Metrics": metrics}
                    header = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
                    print(json.dumps({"_aws": header, "stage": "test", "Seen": body["value"]}))
                case "slow":
                    time.sleep(body["seconds"])
                case "store":
                    batch.put_item(Item={"id": str(body["n"]), "at": str(time.time())})
    return {"batchItemFailures": failures}
"""
QUEUE_FUNCTION = """
import json, os, time
import boto3
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])

def handler(event, context):
    failures = []
    print(json.dumps({"messages": len(event["Records"])}))
    for record in event["Records"]:
        body = json.loads(record["body"])
        began = time.time()
        if body.get("do") == "fail":
            failures.append({"itemIdentifier": record["messageId"]})
            continue
        time.sleep(body.get("seconds", 0))
        table.put_item(Item={"id": str(body["n"]), "at": str(began), "until": str(time.time())})
    return {"batchItemFailures": failures}
"""


def _function(name: str, asset: str) -> dict:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": name,
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Timeout": 30,
            "Code": {"S3Bucket": "cdk-hnb659fds-assets-000000000000-us-east-1", "S3Key": f"{asset}.zip"},
            "Environment": {"Variables": {"TABLE": {"Ref": "Table"}}},
        },
    }


def write_assembly(folder: Path, *, stream_mapping: dict | None = None, extra: dict | None = None) -> Path:
    """Write a cloud assembly of one stack; `stream_mapping` changes the stream's mapping, `extra` adds resources."""
    folder.mkdir(parents=True, exist_ok=True)
    for asset, source in (("stream", STREAM_FUNCTION), ("queue", QUEUE_FUNCTION)):
        (folder / f"asset.{asset}").mkdir(exist_ok=True)
        (folder / f"asset.{asset}" / "index.py").write_text(source)
    mapping = {
        "EventSourceArn": {"Fn::GetAtt": ["Stream", "Arn"]},
        "FunctionName": {"Ref": "StreamFunction"},
        "BatchSize": 500,
        "StartingPosition": "TRIM_HORIZON",
        "MaximumRetryAttempts": 1,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Unread", "Arn"]}}},
    }
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 2}
    resources = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
        },
        "Stream": {"Type": "AWS::Kinesis::Stream", "Properties": {"Name": "small", "ShardCount": 2}},
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": "small",
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            },
        },
        "Unread": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "unread"}},
        "Dead": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dead"}},
        "Work": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": "work", "VisibilityTimeout": 2, "RedrivePolicy": redrive},
        },
        "StreamFunction": _function("small-stream", "stream"),
        "QueueFunction": _function("small-queue", "queue"),
        "StreamMapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": mapping | (stream_mapping or {})},
        "QueueMapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "EventSourceArn": {"Fn::GetAtt": ["Work", "Arn"]},
                "FunctionName": {"Ref": "QueueFunction"},
                "BatchSize": 1,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": 4},
            },
        },
        **(extra or {}),
    }
    outputs = {
        "WorkUrl": {"Value": {"Ref": "Work"}},
        "UnreadUrl": {"Value": {"Ref": "Unread"}},
        "DeadUrl": {"Value": {"Ref": "Dead"}},
    }
    (folder / "small.template.json").write_text(json.dumps({"Resources": resources, "Outputs": outputs}))
    files = {
        name: {
            "source": {"path": f"asset.{name}", "packaging": "zip"},
            "destinations": {
                "here": {"bucketName": "cdk-hnb659fds-assets-${AWS::AccountId}-us-east-1", "objectKey": f"{name}.zip"}
            },
        }
        for name in ("stream", "queue")
    }
    (folder / "small.assets.json").write_text(json.dumps({"files": files}))
    artifacts = {
        "small.assets": {"type": "cdk:asset-manifest", "properties": {"file": "small.assets.json"}},
        "small": {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": "small.template.json"},
            "dependencies": ["small.assets"],
        },
    }
    (folder / "manifest.json").write_text(json.dumps({"version": "48.0.0", "artifacts": artifacts}))
    return folder
