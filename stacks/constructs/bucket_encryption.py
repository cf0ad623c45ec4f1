"""How a bucket's objects are encrypted: by S3's keys, or by the stage's."""

from typing import Any

from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs.stage_stack import protection_of


def bucket_encryption(scope: Construct) -> dict[str, Any]:
    """Arguments of a bucket; with the stage's key one data key serves many objects, as each use is paid."""
    key = protection_of(scope).key
    if key is None:
        return {"encryption": s3.BucketEncryption.S3_MANAGED}
    return {"encryption": s3.BucketEncryption.KMS, "encryption_key": key, "bucket_key_enabled": True}
