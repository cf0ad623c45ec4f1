"""Our RecordIO-protobuf writer beside that of SageMaker's own SDK (version 2), in one run, byte for byte.

`python -m benchmarks.recordio`. The SDK's packages conflict with ours, so it lives in a virtual environment of its own
(`build/sagemaker-venv`, made once from requirements/sagemaker.txt) and runs as a second process that is handed the
same rows. CPU seconds of the writing alone, imports left out; each takes the best of its turns. Without the SDK
(no installer, no index) only our own figure is printed, and the exit code is 1.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.prepare.shards import ROWS_PER_SHARD
from treeline.forest import recordio

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / "build" / "sagemaker-venv"
REQUIREMENTS = ROOT / "requirements" / "sagemaker.txt"
TIMES_THE_SDK = 20.0

# Runs in the SDK's environment; says how long each turn took, and what it wrote.
_THEIRS = """
import hashlib, io, json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from sagemaker.amazon.common import write_numpy_to_dense_tensor
from importlib.metadata import version
rows = np.load(sys.argv[1])
turns = []
for _ in range(int(sys.argv[2])):
    file = io.BytesIO()
    began = time.process_time()
    write_numpy_to_dense_tensor(file, rows)
    turns.append(time.process_time() - began)
written = file.getvalue()
print(json.dumps({"s": min(turns), "sha256": hashlib.sha256(written).hexdigest(), "bytes": len(written),
                  "version": version("sagemaker")}))
"""


def sdk_python() -> Path | None:
    """The interpreter of the SDK's environment, made when it is not there; None where it cannot be made."""
    python, mark = VENV / "bin" / "python", VENV / ".complete"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return python
    installer = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    print(f"installing the SageMaker SDK into {VENV.relative_to(ROOT)} (once)", file=sys.stderr)
    try:
        for command in (
            [installer, "venv", "-q", "--clear", "--python", sys.executable, str(VENV)],
            [installer, "pip", "install", "-q", "--python", str(python), "--require-hashes", "-r", str(REQUIREMENTS)],
        ):
            subprocess.run(command, check=True)  # noqa: S603 -- our own arguments
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the SDK cannot be installed: {error}", file=sys.stderr)
        return None
    mark.write_text(wanted)
    return python


def ours(rows: np.ndarray, turns: int) -> tuple[float, bytes]:
    """CPU seconds of the best turn, and what was written."""
    best = float("inf")
    for _ in range(turns):
        began = time.process_time()
        written = b"".join(map(recordio.encode, np.array_split(rows, max(1, len(rows) // ROWS_PER_SHARD))))
        best = min(best, time.process_time() - began)
    return best, written


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both rates; exit code 1 unless the bytes agree and ours is 20 times theirs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recordio", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args(arguments)
    rows = np.random.default_rng(1).normal(size=(asked.rows, asked.features)).astype(np.float32)
    ours_s, written = ours(rows, asked.turns)
    result: dict[str, object] = {
        "rows": asked.rows,
        "features": asked.features,
        "bytes": len(written),
        "ours_rows_per_s": round(asked.rows / ours_s),
    }
    python, good = sdk_python(), False
    if python is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.npy")
            np.save(path, rows)
            command = [str(python), "-W", "ignore", "-c", _THEIRS, str(path), str(asked.turns)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- as above
        theirs = json.loads(answer.stdout.splitlines()[-1])
        same = theirs["sha256"] == hashlib.sha256(written).hexdigest()
        result |= {
            "sdk": theirs["version"],
            "sdk_rows_per_s": round(asked.rows / theirs["s"]),
            "times_the_sdk": round(theirs["s"] / ours_s, 1),
            "same_bytes": same,
        }
        good = same and theirs["s"] / ours_s >= TIMES_THE_SDK
    print(json.dumps(result, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
