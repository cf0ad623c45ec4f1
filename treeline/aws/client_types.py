"""The types of boto3's clients. Only the type checker has the stubs they come from: no function carries them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient as DynamoDBClient
    from mypy_boto3_s3 import S3Client as S3Client
    from mypy_boto3_sagemaker import SageMakerClient as SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef as DescribeModelPackageOutputTypeDef
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient as SageMakerRuntimeClient
    from mypy_boto3_secretsmanager import SecretsManagerClient as SecretsManagerClient
    from mypy_boto3_sns import SNSClient as SNSClient
    from mypy_boto3_sqs import SQSClient as SQSClient
else:

    def __getattr__(name: str) -> Any:
        return Any
