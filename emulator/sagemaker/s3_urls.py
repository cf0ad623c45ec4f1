"""What s3:// URLs stand for."""

from typing import Any


def bucket_and_key(url: str) -> tuple[str, str]:
    """The two parts of s3://bucket/key."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def keys_below(s3: Any, bucket: str, prefix: str) -> list[str]:
    """Every object whose key starts with `prefix`; what stands for a folder is none."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sorted(o["Key"] for page in pages for o in page.get("Contents", []) if not o["Key"].endswith("/"))
