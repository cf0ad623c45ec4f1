"""Peak resident memory of the detect function: 50 servers x 10 observations x 4 metrics, boto3 and numpy included.

    python -m benchmarks.detect_memory

A fresh interpreter imports the handler, wires it with real boto3 clients and runs the use case over one group's
observations held in memory. What is left out is the network: the pages of one 500-item DynamoDB answer (about 0.2 MB).
"""

import json
import subprocess
import sys

BUDGET_MB = 120.0

PROGRAM = """
import os, resource, sys
def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
start = peak_mb()
from treeline.settings.pipeline import DetectSettings
from treeline.app.detect.ticks import Tick
from treeline.aws.observability import EmfTelemetry
from treeline.wiring.detect import detect_service
import lambdas.detect.handler
names = ("observations_table", "servers_table", "state_table", "scores_table", "incidents_table", "controls_table",
    "models_bucket", "rollups_table", "endpoint_name", "tick_queue_url")
settings = DetectSettings(stage="bench", alerts_topic_arn="arn:aws:sns:us-east-1:0:a",
    **dict.fromkeys(names, "x"))
service = detect_service(settings, EmfTelemetry("detect", "bench"))
wired = peak_mb()
import numpy as np
from dataclasses import replace
from treeline.app.detect.ports import Pending
from treeline.app.alert.muting import Muting
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.app.detect.zones import ServerZones
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
servers, metrics = [f"web-{i:03d}" for i in range(50)], ("cpu_percent", "memory_percent", "network_mbps", "disk_iops")
seeds = FleetState(4, servers=servers)
seeds.phase[:] = 1
package = ModelPackage(model_version="m", metrics=metrics, features=feature_names(metrics), step_s=30.0,
    calibration=Calibration(), seeds=seeds, typical={}, fingerprint="0")
package = ModelPackage.from_bytes(package.to_bytes())
class Memory:
    record, blocks = None, {}
    def active(self): return package
    def load(self, group, version): return self.record
    def commit(self, record, previous):
        record.state.pack(); record.block.pack()
        self.record = replace(record)
    def clear_outbox(self, record): pass
    def put(self, group, block, now_ms): block.pack()
    def apply(self, alert): return True
    def publish(self, alert): pass
    def read_block(self, group, version, number, name): return self.blocks[name]
    def write_block(self, group, version, number, name, block): self.blocks[name] = block
    def score(self, rows): return np.full(len(rows), 0.8)
    def read(self, group, start_ms, metrics, *, skip, limit):
        keys = [(s, t) for t in range(30_000, 330_000, 30_000) for s in servers if not skip(s, t, t)][:limit]
        values = np.random.default_rng(0).normal(0, 1, (len(keys), 4)).astype(np.float32)
        at = np.array([t for _, t in keys], dtype=np.int64)
        return Pending([s for s, _ in keys], at, at, values)
memory = Memory()
ports = dict.fromkeys(("observations", "records", "scores", "incidents", "publisher", "scorer", "models"), memory)
own = dict(muting=Muting(), zones=ServerZones(), tables=SeasonBlocks(memory))
outcome = replace(service.champion, **own, **ports).run(Tick(0))
assert outcome.scored == 500, outcome
import json
print(json.dumps({"interpreter_mb": start, "wired_mb": wired, "peak_mb": peak_mb()}))
"""


def measure() -> dict[str, float]:
    """Run the program in a fresh interpreter; megabytes by phase."""
    command = [sys.executable, "-c", PROGRAM]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    figures: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(measure() | {"budget_mb": BUDGET_MB}, indent=1))
