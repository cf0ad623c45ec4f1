"""Our container's `train`, with /opt/ml in a temporary folder."""

import json

import numpy as np
import pytest

from training.jobs.train import main
from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import load

ROWS = np.random.default_rng(1).normal(size=(600, 3)).astype(np.float32)
FOREST = {"feature_dim": "3", "num_trees": "50", "num_samples_per_tree": "64"}


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setenv("SEED", "5")
    config, data = tmp_path / "input" / "config", tmp_path / "input" / "data" / "train"
    config.mkdir(parents=True)
    data.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(FOREST))
    channel = {"train": {"ContentType": "application/x-recordio-protobuf"}}
    (config / "inputdataconfig.json").write_text(json.dumps(channel))
    for i in range(2):
        (data / f"rows-{i}.pbr").write_bytes(recordio.encode(ROWS[300 * i : 300 * i + 300]))
    return tmp_path


def test_the_channels_files_become_a_forest_and_the_seed_is_the_jobs(job):
    assert main(job) == 0
    forest = load(job / "model" / "forest.npz")
    same = RandomCutForest.fit(ROWS, num_trees=50, num_samples_per_tree=64, seed=5)
    assert forest.feature_dim == same.feature_dim
    assert np.allclose(np.median(forest.score(ROWS)), np.median(same.score(ROWS)), rtol=0.05)


def test_a_job_that_cannot_be_done_says_why_where_sagemaker_looks(job):
    (job / "input" / "config" / "hyperparameters.json").write_text(json.dumps(FOREST | {"num_trees": "7"}))
    assert main(job) == 1
    assert "num_trees must be in [50, 1000]" in (job / "output" / "failure").read_text()


def test_an_empty_channel_is_refused(job):
    for path in (job / "input" / "data" / "train").iterdir():
        path.unlink()
    assert main(job) == 1
    assert "no files" in (job / "output" / "failure").read_text()
