"""`treeline tune` as a whole: every trial in MLflow, the frontier drawn."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.main import run
from training.evaluate.tracking import MISSING
from treeline.core.errors import UsageError


def write_history(path):
    rng = np.random.default_rng(3)
    steps = np.arange(5 * 144)
    wave = 40 + 10 * np.sin(steps / 144 * 2 * np.pi)
    columns = {"timestamp": [], "server_id": [], "cpu_percent": []}
    for server in "abcdefghij":  # so that there are rows enough for the most trees
        columns["timestamp"].append(steps * 600_000)
        columns["server_id"].append(np.full(len(steps), server))
        columns["cpu_percent"].append(wave + rng.normal(0, 2, len(steps)))
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    table["timestamp"] = pa.array(table["timestamp"]).cast(pa.timestamp("ms", tz="UTC"))
    pq.write_table(pa.table(table), path)
    return path


def test_a_search_goes_by_the_stages_file(tmp_path, monkeypatch):
    given = []

    class Asked:
        def __init__(self, history, budget, *, setup):
            given.append((setup.rolling_window_s, setup.timezone, setup.policy.quiet_s, setup.seed))
            raise UsageError("asked")

    monkeypatch.setattr("cli.tune.Tuner", Asked)
    data, stage = write_history(tmp_path / "fleet.parquet"), tmp_path / "stage.yaml"
    command = ["tune", "--data", str(data), "--seed", "3", "--config", str(stage)]
    stage.write_text("detection: {expectation: rolling, timezone: Asia/Tokyo, policy: {quiet_s: 60}}")
    with pytest.raises(UsageError, match="asked"):
        run(command)
    assert given == [(3600, "Asia/Tokyo", 60, 3)]
    stage.write_text("model: {calibration: {score: {p2: 2.0, p1: 3.0}}}")
    with pytest.raises(UsageError, match=r"model\.calibration cannot be held"):
        run(command)


def test_every_trial_is_a_run_and_the_frontier_is_drawn(tmp_path, capsys):
    mlflow = pytest.importorskip("mlflow", reason=MISSING)
    data, out = write_history(tmp_path / "fleet.parquet"), tmp_path / "tune"
    arguments = ["tune", "--data", str(data), "--trials", "2", "--out", str(out), "--json"]
    assert run(arguments) == 0
    best = json.loads(capsys.readouterr().out)
    trials = json.loads((out / "trials.json").read_text())
    assert len(trials) == 2
    assert best in trials
    assert (out / "frontier.svg").read_text().count("<circle") == 2
    mlflow.set_tracking_uri(f"sqlite:///{out / 'mlflow.db'}")
    runs = mlflow.search_runs(experiment_names=["treeline-tune"], output_format="list")
    parents = [found for found in runs if "mlflow.parentRunId" not in found.data.tags]
    nested = [found for found in runs if "mlflow.parentRunId" in found.data.tags]
    assert (len(parents), len(nested)) == (1, 2)
    assert all(float(found.data.params["num_trees"]) >= 50 for found in nested)
    assert {"adherence"} <= nested[0].data.metrics.keys()
    kept = mlflow.artifacts.list_artifacts(run_id=parents[0].info.run_id)
    assert {file.path for file in kept} == {"frontier.svg", "trials.json"}
