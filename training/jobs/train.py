"""`train` in our container, as a SageMaker training job starts it: a channel of files in, forest.npz out.

The same contract as the built-in Random Cut Forest: hyperparameters in /opt/ml/input/config/hyperparameters.json, the
channel in /opt/ml/input/data/train, its content type in inputdataconfig.json, the model to /opt/ml/model. Why a job
failed goes to /opt/ml/output/failure, where SageMaker takes the FailureReason from.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treeline.core.errors import TreelineError, UsageError
from treeline.forest.storage import MEMBER, save
from treeline.forest.training import fit_channel

ROOT = Path("/opt/ml")
CHANNEL = "train"
SEED_VARIABLE = "SEED"
DEFAULT_CONTENT_TYPE = "application/x-recordio-protobuf"


def train(root: Path, environment: Mapping[str, str]) -> None:
    """Fit the channel below `root`; raises UsageError when it or a hyperparameter cannot be used."""
    config = root / "input" / "config"
    hyperparameters = _json(config / "hyperparameters.json")
    channels = _json(config / "inputdataconfig.json")
    content_type = channels.get(CHANNEL, {}).get("ContentType", DEFAULT_CONTENT_TYPE)
    files = sorted(p for p in (root / "input" / "data" / CHANNEL).rglob("*") if p.is_file())
    if not files:
        raise UsageError(f"the {CHANNEL} channel has no files")
    contents = ((content_type, path.read_bytes()) for path in files)
    forest = fit_channel(contents, hyperparameters, int(environment.get(SEED_VARIABLE, "0")))
    (root / "model").mkdir(parents=True, exist_ok=True)
    save(forest, root / "model" / MEMBER)
    print(f"{len(files)} files; {forest.feature_dim} features")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path} is not there; is this a training job?")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def main(root: Path = ROOT) -> int:
    """Train; the exit code, and after a failure of ours its reason in output/failure."""
    try:
        train(root, os.environ)
    except TreelineError as error:
        print(f"error: {error}", file=sys.stderr)
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output" / "failure").write_text(str(error), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
