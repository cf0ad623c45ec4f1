"""From history to training rows: the window, what cannot be trained on, and what is handed to the next step."""

import numpy as np
import pandas as pd
import pytest

from tests.unit.detection_fakes import METRICS, START_MS, STEP_MS, fleet
from training import data_quality, job, prepare_run
from training.fit import fingerprint, prepare
from training.fleet_file import FleetFile
from treeline.core.errors import ModelMismatchError, UsageError
from treeline.core.times import iso
from treeline.forest import recordio

STEPS = 1440


def write(folder, grid):
    times, servers, _ = grid.values.shape
    columns = {
        "timestamp": pd.to_datetime(np.repeat(grid.times_ms, servers), unit="ms", utc=True),
        "server_id": np.tile(np.array(grid.servers), times),
    }
    columns |= {name: grid.values[:, :, i].ravel() for i, name in enumerate(grid.metrics)}
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(folder / "part.parquet", index=False)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    write(folder, fleet(4, STEPS))
    return folder


def arguments(history, out, **values):
    given = {"metrics": ",".join(METRICS), "window-days": 0.5, "holdout-days": 0.25, "history": history, "out": out}
    given |= {name.replace("_", "-"): value for name, value in values.items()}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def test_the_window_ends_where_it_is_told_and_the_newest_part_is_held_out(history, tmp_path):
    end = START_MS + 1200 * STEP_MS
    prepare_run.work(arguments(history, tmp_path, window_end=iso(end)))
    handed = FleetFile.read(tmp_path / "fleet")
    assert int(handed.grid.times_ms[-1]) == end
    assert int(handed.holdout().times_ms[0]) == end - 359 * STEP_MS
    assert len(handed.training().times_ms) == 720
    assert handed.grid.metrics == METRICS


def test_the_rows_in_s3_are_those_that_evaluate_will_make_again(history, tmp_path):
    prepare_run.work(arguments(history, tmp_path))
    handed = FleetFile.read(tmp_path / "fleet")
    again = prepare(handed.training(), seed=1).training_rows
    assert fingerprint(again) == handed.fingerprint
    (shard,) = (tmp_path / "train").iterdir()
    assert np.array_equal(recordio.decode(shard.read_bytes())[0], again)


def test_metrics_come_in_the_deployments_order_not_in_the_files(history, tmp_path):
    prepare_run.work(arguments(history, tmp_path, metrics=",".join(reversed(METRICS))))
    handed = FleetFile.read(tmp_path / "fleet")
    assert handed.grid.metrics == METRICS[::-1]
    first = fleet(4, STEPS).values[:, :, 0][-len(handed.grid.times_ms) :]
    assert np.array_equal(handed.grid.values[:, :, -1], first)


def test_a_metric_that_the_history_lacks_fails_by_name(history, tmp_path):
    with pytest.raises(UsageError, match="lacks swap_percent"):
        prepare_run.work(arguments(history, tmp_path, metrics="cpu_percent,swap_percent"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"window_end": iso(START_MS - STEP_MS)}, "begins at"),
        ({"window_end": iso(START_MS + 100 * STEP_MS)}, "times to train on"),
        ({"holdout_days": 0.01}, "15 held out"),
    ],
)
def test_too_little_history_fails_and_says_how_little(history, tmp_path, values, said):
    with pytest.raises(UsageError, match=said):
        prepare_run.work(arguments(history, tmp_path, **values))


def test_a_job_that_fails_leaves_its_reason_where_sagemaker_looks(history, tmp_path, monkeypatch, capsys):
    message = tmp_path / "message"
    monkeypatch.setenv(job.MESSAGE_VARIABLE, str(message))
    code = job.run(prepare_run.work, arguments(history, tmp_path, metrics="swap_percent"))
    assert code == 1
    assert "lacks swap_percent" in message.read_text()
    assert "error: the history lacks" in capsys.readouterr().err


def test_evaluate_refuses_what_prepare_did_not_leave(tmp_path):
    with pytest.raises(ModelMismatchError, match="prepare left no fleet"):
        FleetFile.read(tmp_path)


def test_the_data_quality_baseline_is_left_beside_and_the_held_out_days_are_held_against_it(history, tmp_path):
    prepare_run.work(arguments(history, tmp_path))
    statistics, constraints = data_quality.read(tmp_path / "quality")
    assert {s.name for s in statistics} >= set(METRICS)
    assert constraints
    violations = FleetFile.read(tmp_path / "fleet").manifest["held_out_violations"]
    # Half a day to learn from and the quarter after it: another part of the daily cycle, and nothing else.
    assert {v["constraint_check_type"] for v in violations} == {"baseline_drift_check"}
