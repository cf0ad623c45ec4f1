"""Trained models' artifacts in S3."""

from botocore.exceptions import ClientError

from treeline.aws.client_types import S3Client

_ABSENT = {"NoSuchKey", "404", "NotFound"}


class ModelArtifacts:
    """Reads what a training run left in the models bucket."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def read(self, key: str) -> bytes | None:
        """An object's content; None when there is none."""
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                return None
            raise

    def exists(self, url: str) -> bool:
        """Whether an s3:// address names an object."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        try:
            self._s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                return False
            raise
        return True
