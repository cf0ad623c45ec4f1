"""From history to training rows: the window, what cannot be trained on, and what is handed to the next step."""

import json
from dataclasses import replace
from textwrap import wrap

import numpy as np
import pandas as pd
import pytest

from tests.unit.detection_fakes import METRICS, START_MS, STEP_MS, fleet
from training.evaluate.stage_servers import RegisteredServer, StageServers
from training.history.labels import Label
from training.jobs import entry as job
from training.jobs import prepare as prepare_run
from training.prepare import data_quality, preparation
from training.prepare.calibrating import calibrate_package
from training.prepare.disturbances import DisturbanceTables
from training.prepare.fleet_file import FACTS, FleetFile
from training.prepare.hygiene import Disturbances
from training.prepare.preparation import prepare
from treeline.aws.dynamodb import item_of
from treeline.core.detection.scorer_row import feature_dim
from treeline.core.errors import ModelMismatchError, UsageError
from treeline.core.expectation.peers import NOBODY
from treeline.core.profile import Metric, declared, to_json
from treeline.core.times import iso
from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest
from treeline.settings.environment import compressed

STEPS = 1440
DAY_MS = 86_400_000


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
    given["feature-dim"] = feature_dim(len(METRICS))
    given |= {name.replace("_", "-"): value for name, value in values.items()}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def test_the_window_ends_where_it_is_told_and_the_newest_part_is_held_out(history, tmp_path):
    end = START_MS + 1200 * STEP_MS
    prepare_run.work(arguments(history, tmp_path, window_end=iso(end)))
    handed = FleetFile.read(tmp_path / "fleet")
    assert int(handed.recent.times_ms[-1]) == end
    assert int(handed.holdout().times_ms[0]) == end - 359 * STEP_MS
    assert int(handed.holdout(lead_in_ms=DAY_MS).times_ms[0]) == end - 1079 * STEP_MS, "no further than the window"
    assert len(handed.prepared.times_ms) == 720
    assert handed.recent.metrics == handed.prepared.metrics == METRICS


def test_the_window_reaches_past_the_finest_resolution_into_the_coarser_ones(tmp_path, monkeypatch):
    """A cloud keeps minutes for days and hours for months: the baselines are of all of the window."""
    whole, fine_from, hour = fleet(4, STEPS), 540, 60
    hours = whole.values[:fine_from].reshape(-1, hour, 4, len(METRICS)).mean(axis=1)
    fine = replace(whole, times_ms=whole.times_ms[fine_from:], values=whole.values[fine_from:])
    write(tmp_path / "in" / "period_s=60", fine)
    write(tmp_path / "in" / "period_s=3600", replace(whole, times_ms=whole.times_ms[:fine_from:hour], values=hours))
    given = {}

    def prepare(source, *, coarser, **more):
        given.update({60: source, **coarser})
        return preparation.prepare(source, coarser=coarser, **more)

    monkeypatch.setattr(prepare_run, "prepare", prepare)
    prepare_run.work(arguments(tmp_path / "in", tmp_path))
    assert given[60].start_ms == START_MS + fine_from * STEP_MS
    assert given[3600].start_ms == START_MS + 6 * hour * STEP_MS, "half a day before the held-out part"


def test_the_rows_in_s3_are_those_that_evaluate_is_handed(history, tmp_path):
    prepare_run.work(arguments(history, tmp_path))
    handed = FleetFile.read(tmp_path / "fleet")
    (shard,) = (tmp_path / "train").iterdir()
    assert np.array_equal(recordio.decode(shard.read_bytes())[0], handed.prepared.training_rows)


def test_what_the_stage_declares_of_a_metric_decides_which_values_are_learned(history, tmp_path):
    """The default range of CPU would take them all."""
    metrics = (Metric(name="cpu_percent", unit="%", minimum=0.0, maximum=40.0), *declared(METRICS[1:]))
    prepare_run.work([*arguments(history, tmp_path), "--declared", *wrap(compressed(to_json(metrics)), 256)])
    handed = FleetFile.read(tmp_path / "fleet")
    highest = np.nanmax(fleet(4, STEPS).values[:, :, 0])
    assert highest > 42.0
    assert np.nanmax(handed.recent.values[:, :, 0]) == 40.0
    baseline = json.loads((tmp_path / "quality" / "statistics.json").read_text())["features"][0]
    assert (baseline["name"], baseline["numerical_statistics"]["max"]) == ("cpu_percent", 40.0)
    assert handed.manifest["declared_metrics"][0] == {"name": "cpu_percent", "unit": "%", "minimum": 0, "maximum": 40}


def test_a_rolling_window_is_trained_with_and_handed_to_the_package(history, tmp_path):
    prepare_run.work(arguments(history, tmp_path, rolling_window_s=3600))
    prepared = FleetFile.read(tmp_path / "fleet").prepared
    package = calibrate_package(prepared, lambda rows: np.zeros(len(rows)), model_version="v", samples_per_tree=64)
    assert package.rolling_window_s == 3600.0
    assert package.seeds.rolling_count.any()


def test_rows_that_are_not_those_of_the_forest_are_refused(history, tmp_path):
    prepare_run.work(arguments(history, tmp_path))
    facts = tmp_path / "fleet" / FACTS
    facts.write_text(facts.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    with pytest.raises(ModelMismatchError, match="not those that the forest was given"):
        FleetFile.read(tmp_path / "fleet")


def test_what_is_handed_over_calibrates_as_what_stayed_in_memory(history, tmp_path):
    """The short way over the same window: the same seeds and features, so the same package from the same forest."""
    prepare_run.work(arguments(history, tmp_path))
    handed = FleetFile.read(tmp_path / "fleet")
    whole = fleet(4, STEPS)
    start = STEPS - 360 - 720
    training = replace(whole, times_ms=whole.times_ms[start : start + 720], values=whole.values[start : start + 720])
    short = prepare(training, seed=1)
    np.testing.assert_allclose(handed.prepared.rows, short.rows, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(handed.prepared.state.base_mean, short.state.base_mean, rtol=1e-6)
    np.testing.assert_allclose(handed.prepared.state.base_spread, short.state.base_spread, rtol=1e-6)
    forest = RandomCutForest.fit(short.training_rows, num_trees=10, num_samples_per_tree=64, seed=1)
    one, other = (
        calibrate_package(p, forest.score, model_version="v", samples_per_tree=forest.num_samples_per_tree)
        for p in (handed.prepared, short)
    )
    for name in ("residual_scale", "relation_sd", "score_mean"):
        np.testing.assert_allclose(getattr(one.seeds, name), getattr(other.seeds, name), rtol=0.02, err_msg=name)
    np.testing.assert_array_equal(one.seeds.channel_gated, other.seeds.channel_gated)


class ServersTable:
    """DynamoDB's client, which can do nothing but scan the servers table."""

    def __init__(self, groups, labels):
        self.items = [item_of({"server_id": name, "group": group, "labels": labels}) for name, group in groups.items()]

    def get_paginator(self, operation):
        assert operation == "scan"
        return self

    def paginate(self, *, TableName):  # noqa: N803 - as boto3 has it
        assert TableName == "s"
        half = len(self.items) // 2
        return [{"Items": [item_of({"server_id": "#counter", "next_number": len(self.items)})]}] + [
            {"Items": part} for part in (self.items[:half], self.items[half:])
        ]


def test_peers_are_found_in_the_groups_in_which_the_stage_decides(tmp_path):
    """All servers share one load, so nothing but the group keeps them apart; the table's order is not the history's."""
    grid = fleet(14, STEPS)
    grid.values[:] += np.random.default_rng(3).normal(0, 6, (STEPS // 15, 1, len(METRICS))).repeat(15, axis=0)
    write(tmp_path / "in", grid)
    groups = {server: column % 2 for column, server in enumerate(grid.servers)}
    table = ServersTable(groups, {"timezone": "Asia/Tokyo"})
    prepare_run.work(arguments(tmp_path / "in", tmp_path, servers_table="s"), lambda service: table)
    handed = FleetFile.read(tmp_path / "fleet")
    assert handed.groups == groups
    assert set(handed.recent.zones.of(grid.servers)) == {"Asia/Tokyo"}
    rows = handed.prepared.state.peer_rows
    own = np.array(list(groups.values()))[:, None, None]
    assert (rows != NOBODY).any(axis=(1, 2)).all(), "each has peers"
    assert (own % 2 == rows % 2)[rows != NOBODY].all()


@pytest.mark.parametrize(
    ("known", "groups"),
    [({}, [0, 0, 1, 1]), ({"c": 0}, [0, 1, 0, 1]), ({"a": 1, "d": 0, "x": 0, "y": 1}, [1, 2, 2, 0])],
)
def test_servers_that_have_sent_nothing_are_numbered_after_those_that_have(known, groups):
    servers = StageServers({name: RegisteredServer(group=group, labels={}) for name, group in known.items()}, 2)
    assert list(servers.groups(["a", "b", "c", "d"]).values()) == groups


def test_what_hygiene_took_out_is_missing_in_the_lead_in_too(history, tmp_path, monkeypatch):
    label = Label(server_id=fleet(4, 1).servers[0], start_ms=START_MS + 900 * STEP_MS, end_ms=START_MS + 960 * STEP_MS)
    monkeypatch.setattr(DisturbanceTables, "read", lambda tables, servers: Disturbances(labels=(label,)))
    prepare_run.work(arguments(history, tmp_path, controls_table="c", incidents_table="i"))
    handed = FleetFile.read(tmp_path / "fleet")
    lead_in = handed.holdout(lead_in_ms=DAY_MS)
    inside = (lead_in.times_ms >= label.start_ms) & (lead_in.times_ms <= label.end_ms)
    assert np.isnan(lead_in.values[inside, 0]).all()
    assert not np.isnan(lead_in.values[inside, 1:]).any()
    assert list(handed.manifest["left_out"]["labelled_incident"]) == [label.server_id]


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


def test_a_history_of_another_step_than_senders_have_is_refused(history, tmp_path):
    """Its model would take every difference and every average at the wrong pace."""
    with pytest.raises(UsageError, match=r"every 60 s, the stage says step_s: 30"):
        prepare_run.work(arguments(history, tmp_path, step_s=30))
    prepare_run.require_step(60.0, None)
    prepare_run.require_step(60.0, 60)


def test_rows_of_another_width_than_the_training_job_is_told_are_refused_before_it_is_paid_for(history, tmp_path):
    wrong = feature_dim(len(METRICS)) + 1
    with pytest.raises(ModelMismatchError, match=rf"have {wrong - 1} columns, the pipeline's feature_dim is {wrong}"):
        prepare_run.work(arguments(history, tmp_path, feature_dim=wrong))
    assert not (tmp_path / "train").exists()


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
