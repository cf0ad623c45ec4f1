"""A training job's own process: reads its channel from S3, fits, writes model.tar.gz to S3.

Gets one JSON object on stdin: {"built_in", "files": [[content type, bucket, key, gzip]], "hyperparameters", "seed",
"bucket", "key", "endpoint_url"}; prints {"seconds"} or {"error"}. It ends with the launcher.
"""

import gzip
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from emulator.loopback.clients import clients_of
from emulator.sagemaker import built_in
from treeline.core.errors import TreelineError
from treeline.forest.storage import write_model_tar
from treeline.forest.training import fit_channel


def _files(s3: Any, files: list[list[Any]]) -> Iterator[tuple[str, bytes]]:
    for content_type, bucket, key, zipped in files:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        yield content_type, gzip.decompress(body) if zipped else body


def _fitted(job: dict[str, Any], files: Iterator[tuple[str, bytes]]) -> bytes:
    if job["built_in"]:
        return built_in.train(files, job["hyperparameters"])
    return write_model_tar(fit_channel(files, job["hyperparameters"], job["seed"]))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> int:
    """Run the job on stdin."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    job = json.load(sys.stdin)
    s3 = clients_of(job["endpoint_url"])("s3")
    began = time.monotonic()
    try:
        artifact = _fitted(job, _files(s3, job["files"]))
    except TreelineError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    s3.put_object(Bucket=job["bucket"], Key=job["key"], Body=artifact)
    print(json.dumps({"seconds": time.monotonic() - began}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
