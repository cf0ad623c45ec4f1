"""What detect's cold start takes with a model package of a large fleet: time, bytes and memory to its first tick.

    python -m benchmarks.package_load [SERVERS ...]

Packages of 4 metrics (and of 38 for the smallest fleet) are written to a scratch file and read as from S3, by ranges,
in a fresh interpreter each, which first imports the handler and makes its clients ("start"); requests are counted, and
their time over a network is not in the figures. "near" is a group whose servers stood side by side in training, "apart"
one whose servers are spread over the whole fleet.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState

GROUP = 50
PROGRAM = """
import io, json, os, sys, time
began = time.perf_counter()
from pathlib import Path
os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
import lambdas.detect.handler
from treeline.aws.observability import EmfTelemetry
from treeline.settings.pipeline import DetectSettings
from treeline.wiring.detect import detect_service
names = ("observations_table", "servers_table", "state_table", "scores_table", "incidents_table", "controls_table",
    "models_bucket", "rollups_table", "endpoint_name", "tick_queue_url")
detect_service(DetectSettings(stage="bench", alerts_topic_arn="arn:aws:sns:us-east-1:0:a", **dict.fromkeys(names, "x")),
    EmfTelemetry("detect", "bench"))
from treeline.aws.object_file import ObjectFile
from treeline.core.model.package import ModelPackage
path, step = Path(sys.argv[1]), int(sys.argv[2])
class S3:
    requests, bytes = 0, 0
    def get_object(self, *, Bucket, Key, Range):
        size = path.stat().st_size
        first, last = Range.removeprefix("bytes=").split("-")
        start, end = (max(0, size - int(last)), size) if not first else (int(first), int(last) + 1)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(end - start)
        self.requests, self.bytes = self.requests + 1, self.bytes + len(data)
        return {"Body": io.BytesIO(data), "ContentRange": f"bytes {start}-{start + len(data) - 1}/{size}"}
def peak_mb():  # not getrusage's, which begins at what the parent process had
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024
s3, before, started = S3(), peak_mb(), time.perf_counter()
package = ModelPackage.open(io.BufferedReader(ObjectFile(s3, bucket="b", key="k")))
opened, requests = time.perf_counter(), s3.requests
package.fetch([f"web-{i * step:05d}" for i in range(50)])
done = time.perf_counter()
print(json.dumps({"start_ms": round(1000 * (started - began)),
    "open_ms": round(1000 * (opened - started)), "open_requests": requests,
    "group_ms": round(1000 * (done - opened)), "group_requests": s3.requests - requests,
    "read_mb": round(s3.bytes / 1e6, 1), "memory_mb": round(peak_mb() - before, 1),
    "resident_mb": round(peak_mb())}))
"""


def write(path: Path, servers: int, metrics: int) -> None:
    """A package of so many servers, its seeds full of numbers that compress as little as real ones."""
    rng, names = np.random.default_rng(1), tuple(f"metric_{i}" for i in range(metrics))
    seeds = FleetState(metrics, servers=[f"web-{i:05d}" for i in range(servers)])
    for array in seeds.arrays().values():
        if array.dtype.kind == "f":
            for first in range(0, servers, GROUP):  # by parts: float64 of all would be four times the seeds
                array[first : first + GROUP] = rng.normal(size=array[first : first + GROUP].shape)
    package = ModelPackage(
        model_version="m", metrics=names, features=feature_names(names), step_s=30.0, calibration=Calibration(),
        seeds=seeds, typical={}, fingerprint="0",
    )  # fmt: skip
    path.write_bytes(package.to_bytes())


def measure(servers: int, metrics: int) -> list[dict[str, float | str]]:
    """Figures of a near group's and a spread one's first tick."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="treeline-package-") as scratch:
        path = Path(scratch) / "package.zip"
        write(path, servers, metrics)
        for group, step in (("near", 1), ("apart", servers // GROUP)):
            command = [sys.executable, "-c", PROGRAM, str(path), str(step)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
            size = round(path.stat().st_size / 1e6, 1)
            figures.append(
                {
                    "servers": servers,
                    "metrics": metrics,
                    "group": group,
                    "package_mb": size,
                    **json.loads(answer.stdout),
                }
            )
    return figures


if __name__ == "__main__":
    fleets = [int(argument) for argument in sys.argv[1:]] or [500, 50_000]
    for row in [*(row for n in fleets for row in measure(n, 4)), *measure(min(fleets), 38)]:
        print(json.dumps(row))
