"""`treeline backtest` and `treeline demo` on the same input open the same incidents."""

import csv
import json

import pytest
import yaml

from cli.main import run
from demo.run import ReplayPlan, replay_fleet
from demo.screen import DemoScreen
from tests.deployed.pipeline import whole_fleet
from tests.unit.history_files import write_history
from training.history.files import open_history
from treeline.core.times import iso

pytestmark = pytest.mark.cloud


# The demo trains beside the deployed pipeline: its model has to expect what the stage's settings say.
SETTINGS = {"detection": {"expectation": "rolling", "timezone": "Asia/Tokyo"}}


@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["as shipped", "rolling"])
def test_the_deployed_pipeline_opens_what_the_backtest_opens(tmp_path, settings):
    grid = whole_fleet()
    data = write_history(tmp_path / "fleet.parquet", grid, train=2880)
    labels = tmp_path / "incidents.csv"
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("server_id", "start", "end")]
            + [
                (grid.servers[server], iso(int(grid.times_ms[2880 + first])), iso(int(grid.times_ms[2880 + last])))
                for server, first, last in ((3, 60, 90), (7, 100, 120))
            ]
        )
    _, replayed = replay_fleet(
        ReplayPlan(history=open_history(data, labels), output=tmp_path / "demo", overrides=settings),
        DemoScreen(as_json=True),
    )
    out, config = tmp_path / "backtest.json", tmp_path / "stage.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = ["backtest", "--data", str(data), "--incidents", str(labels), "--config", str(config)]
    assert run([*command, "--json", str(out)]) == 0
    body = json.loads(out.read_text())
    told = sorted(
        (incident["incident_id"].split("/")[-2], event["event"], event["priority"], event["observed_at"])
        for incident in replayed["incidents"]
        for event in incident["events"]
    )
    assert len(told) >= 2
    assert sorted((i["server_id"], i["event"], i["priority"], i["at"]) for i in body["incidents"]) == told
    for tier, judged in body["detectors"]["Treeline"]["tiers"].items():
        for figure in ("hits", "misses", "false_pages", "server_days", "delay_p50_s"):
            assert judged[figure] == replayed["evaluation"][tier][figure]
