"""Thresholds of a deployed stage, changed while it runs: they count at the next tick, and end with their model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli.doctor.after import thresholds
from cli.threshold_change import leaves
from tests.deployed.pipeline import SERVERS, TRAIN, Pipeline, part, samples, whole_fleet
from tests.deployed.promotions import Promotions
from tests.unit.override_fakes import blind
from training.history.grid import Grid
from treeline.aws.explain.incident_tables import ForestFiles
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.times import iso
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
# web-03 goes wrong from minute 60 to 90, web-07 from 100 to 120, and here web-05 from the promotion on.
APPLIED, REVERTED, PROMOTED, LAST = 45, 100, 140, 150
SIGNED = ("--by", "ann", "--reason", "too many pages")


def test_thresholds_count_at_the_next_tick_go_back_at_a_revert_and_end_with_their_model(
    pipeline: Pipeline, command, tmp_path: Path
):
    deployment = pipeline.deployment
    promotions = Promotions(deployment)
    package = ModelPackage.from_bytes(promotions.package("test-1"))
    own, blinded = (dict(leaves(c.to_json())) for c in (package.calibration, blind(package.calibration)))
    file = tmp_path / "blind.json"
    file.write_text(json.dumps({"model_version": "test-1", "calibration": blind(package.calibration).to_json()}))

    def send_until(step: int) -> None:
        pipeline.send(samples(pipeline.present, pipeline.sent // SERVERS, step))
        pipeline.wait_decided(step * SERVERS)

    def decided_by(step: int) -> dict:
        """The thresholds that a quiet server's minute was held against."""
        _, quiet = command("explain", "--server", "web-01", "--at", iso(int(pipeline.present.times_ms[step])))
        return {f"{c['name']}.{tier}": c[tier] for c in quiet["channels"] for tier in ("p2", "p1")}

    send_until(APPLIED)
    code, shown = command("threshold", "apply", str(file), *SIGNED)
    assert (code, shown["applied"]) == (1, False), "nobody said yes"
    assert {c["what"]: (c["old"], c["new"]) for c in shown["changes"]} == {
        name: (own[name], value) for name, value in blinded.items() if value != own[name]
    }
    assert len(shown["changes"]) >= 2
    assert command("threshold", "show")[1]["in_force"] == own
    code, applied = command("threshold", "apply", str(file), *SIGNED, "--yes")
    assert (code, applied["applied"]) == (0, True)
    send_until(REVERTED)
    assert pipeline.books.incidents() == {}, "web-03's fault lies below them"
    assert decided_by(REVERTED - 1).items() <= blinded.items()
    assert decided_by(APPLIED - 1).items() <= own.items()

    assert command("threshold", "revert", *SIGNED, "--yes")[0] == 0
    send_until(PROMOTED)
    assert {name.split("/")[0] for name in pipeline.books.incidents()} == {"web-07"}
    assert [entry["state"] for entry in command("threshold", "list")[1]] == ["nothing is overridden", "replaced"]
    by_budget(command, next(iter(pipeline.books.incidents())))
    by_history(command, tmp_path)

    wanted = json.loads(file.read_text()) | {"policy": {"needed": 3, "of_last": 5}}
    file.write_text(json.dumps(wanted))
    assert command("threshold", "apply", str(file), *SIGNED, "--yes")[0] == 0
    promotions.store(replace(package, model_version="test-2"))
    forest = ForestFiles(deployment.client("sagemaker"), deployment.client("s3")).read("test-1")[1]
    arn = promotions.register("test-2", forest, approval="PendingManualApproval")
    by_hand = promotions.start("at-once", package_arn=arn, hold_s=0)
    assert promotions.ended(by_hand) == "SUCCEEDED", promotions.trouble()
    pipeline.present.values[PROMOTED:LAST, 5, 2:] += 60.0
    send_until(LAST)
    (opened,) = [name for name in pipeline.books.incidents() if name.startswith("web-05/")]
    why = command("explain", opened, "--reproduce")[1]
    assert why["model_version"] == "test-2"
    assert why["reproduction"]["equal"], why["reproduction"]
    assert why["calibration"]["thresholds"] == package.calibration.to_json()
    assert (why["persistence"]["needed"], why["persistence"]["of_last"]) == (3, 5), "no model's matter"
    ended = "thresholds ended with model test-1; the rest holds"
    assert command("threshold", "list")[1][0]["state"] == ended
    assert ended in thresholds(deployment.client, deployment.output(outputs.CONTROLS_TABLE)).found
    shown = command("threshold", "show")[1]
    assert (shown["in_force"], shown["override"]["policy"]) == (own, {"needed": 3, "of_last": 5})
    with pytest.raises(UsageError, match="of model 'test-1', and 'test-2' decides here"):
        command("threshold", "apply", str(file), *SIGNED, "--yes")


def by_budget(command, incident_id: str) -> None:
    """Only web-07's incident was decided by these thresholds: no page allowed raises them, unless it was a real one."""
    budget = ("threshold", "apply", "--budget", "0 P1 and 0 P2 per server-day", "--days", "9000", *SIGNED)
    code, shown = command(*budget)
    assert code == 1
    assert shown["changes"]
    assert all(change["new"] > change["old"] for change in shown["changes"])
    command("incident", "label", incident_id, "true", "--by", "ann")
    assert command(*budget) == (0, {"applied": False, "changes": [], "override": None})


def by_history(command, folder: Path) -> None:
    """What `calibrate --stage` writes is a file that `apply` takes."""
    past, data, out = part(whole_fleet(), 0, TRAIN), folder / "past.parquet", folder / "solved.zip"
    values = past.values.copy()
    for number in range(10):  # of several sizes: there is something that raised thresholds silence
        start = TRAIN // 2 + 60 * number
        values[start : start + 4, number % SERVERS] += 4.0 + 0.5 * number
    write(replace(past, values=values), data)
    budget = ("--budget", "0 P1 and 0 P2 per server-day")
    code, solved = command("calibrate", "--data", str(data), *budget, "--out", str(out))
    assert (code, solved["model_version"]) == (0, "test-1")
    _, shown = command("threshold", "apply", str(out), *SIGNED)
    wanted = dict(leaves(solved["calibration"]))
    assert {c["what"]: c["new"] for c in shown["changes"]}.items() <= wanted.items()
    assert shown["changes"]


def write(grid: Grid, path: Path) -> None:
    times, servers, _ = grid.values.shape
    columns = {
        "timestamp": pd.to_datetime(np.repeat(grid.times_ms, servers), unit="ms", utc=True),
        "server_id": np.tile(np.array(grid.servers), times),
    }
    columns |= {name: grid.values[:, :, i].ravel() for i, name in enumerate(grid.metrics)}
    pd.DataFrame(columns).to_parquet(path, index=False)
