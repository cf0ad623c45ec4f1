"""A bucket as used here: encrypted, TLS only, closed to the public, and rid of uploads that nobody finished."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs.stage_stack import protection_of


class PrivateBucket(s3.Bucket):
    """Encrypted by S3's keys, or by the stage's: then one data key serves many objects, as each use is paid."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        removal_policy: RemovalPolicy,
        rules: Sequence[s3.LifecycleRule],
        versioned: bool = False,
    ) -> None:
        key = protection_of(scope).key
        unfinished = s3.LifecycleRule(id="abandoned-uploads", abort_incomplete_multipart_upload_after=Duration.days(7))
        super().__init__(
            scope,
            id_,
            encryption=s3.BucketEncryption.S3_MANAGED if key is None else s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=None if key is None else True,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=versioned,
            lifecycle_rules=[unfinished, *rules],
            removal_policy=removal_policy,
        )
