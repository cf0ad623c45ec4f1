"""Which resources of a template stand in the embedded cloud without doing what they do on AWS."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class NoOp(NamedTuple):
    """A resource type and what is not done for it here."""

    type: str
    not_done: str


# The whole type does nothing here, or less than its name says.
_TYPES = {
    "AWS::IAM::Role": "permissions are not enforced",
    "AWS::IAM::Policy": "permissions are not enforced",
    "AWS::IAM::ManagedPolicy": "permissions are not enforced",
    "AWS::S3::BucketPolicy": "not enforced",
    "AWS::SQS::QueuePolicy": "not enforced",
    "AWS::SNS::TopicPolicy": "not enforced",
    "AWS::Lambda::Permission": "not enforced",
    "AWS::KMS::Key": "data at rest is not encrypted",
    "AWS::CDK::Metadata": "nothing is reported",
    "AWS::EC2::VPC": "no network isolation",
    "AWS::EC2::Subnet": "no network isolation",
    "AWS::EC2::SecurityGroup": "no network isolation",
    "AWS::EC2::VPCEndpoint": "no network isolation",
    "AWS::Glue::Job": "never runs its script, reports success",
    "AWS::Glue::Crawler": "never reads data",
    "AWS::CloudWatch::Dashboard": "drawn by `treeline local dashboard`, where its metrics exist here",
    "AWS::Lambda::EventInvokeConfig": "what a rule invokes is tried once: no retries, no on-failure destination",
    "AWS::Lambda::LayerVersion": "runs on this machine's Python, whatever the runtime says",
    "AWS::Lambda::Function": "runs on this machine's Python with no memory limit, network isolation or X-Ray",
    "AWS::SageMaker::Pipeline": "no images: the jobs' commands run as processes here; no spot, no retries",
    "AWS::StepFunctions::StateMachine": "no execution log and no X-Ray; the scaling it registers never scales",
    "Custom::S3AutoDeleteObjects": "buckets vanish with the process instead",
}
# A property of a type that is dropped; a dotted path into Properties.
_PROPERTIES = {
    "AWS::DynamoDB::Table": {
        "ProvisionedThroughput": "a figure only: nothing is throttled",
        "TimeToLiveSpecification": "expired items go within a minute; AWS takes days",
        "PointInTimeRecoverySpecification": "no backups are kept",
        "SSESpecification": "data at rest is not encrypted",
    },
    "AWS::DynamoDB::GlobalTable": {
        "SSESpecification": "data at rest is not encrypted",
        "TimeToLiveSpecification": "expired items go within a minute; AWS takes days",
        "WriteProvisionedThroughputSettings": "a figure only: nothing is throttled, nothing scales",
        "Replicas": (
            "one region; point-in-time recovery, deletion protection and contributor insights are dropped; "
            "provisioned reads neither throttle nor scale"
        ),
    },
    "AWS::Events::Rule": {"Targets": "one try: no retries, and what is not taken goes to no dead-letter queue"},
    "AWS::Kinesis::Stream": {
        "RetentionPeriodHours": "a shard keeps its newest records, 2,000 at least, whatever their age",
        "StreamEncryption": "data at rest is not encrypted",
    },
    "AWS::SecretsManager::Secret": {"KmsKeyId": "not encrypted"},
    "AWS::SQS::Queue": {"KmsMasterKeyId": "data at rest is not encrypted"},
    "AWS::SNS::Topic": {"KmsMasterKeyId": "data at rest is not encrypted"},
    "AWS::SNS::Subscription": {"RedrivePolicy": "what cannot be delivered goes to no dead-letter queue"},
    "AWS::S3::Bucket": {
        "LifecycleConfiguration": "rules are kept, nothing expires",
        "BucketEncryption": "data at rest is not encrypted",
        "PublicAccessBlockConfiguration": "not enforced",
    },
    "AWS::CloudWatch::Alarm": {"Metrics": "metric math is not evaluated; the state stays INSUFFICIENT_DATA"},
    "AWS::SageMaker::Endpoint": {"DeploymentConfig": "an update swaps all variants at once"},
    "AWS::Logs::LogGroup": {
        "KmsKeyId": "not encrypted",
        "RetentionInDays": "the newest lines are kept, whatever their age",
    },
}


def find_no_ops(templates: Iterable[Mapping[str, Mapping[str, Any]]]) -> list[NoOp]:
    """Every (type, what is not done) that occurs in the resources of `templates`, sorted, each once."""
    found: set[NoOp] = set()
    for resources in templates:
        for resource in resources.values():
            kind, properties = resource["Type"], resource.get("Properties", {})
            if kind in _TYPES:
                found.add(NoOp(kind, _TYPES[kind]))
            found.update(
                NoOp(kind, f"{name}: {text}") for name, text in _PROPERTIES.get(kind, {}).items() if name in properties
            )
    return sorted(found)
