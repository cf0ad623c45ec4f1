"""The page of dashboards shows live data of the deployed system, in a real browser."""

import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emulator.dashboard import data
from emulator.dashboard.service import render, save
from emulator.launcher import EmbeddedCloud
from tests.deployed.pipeline import SERVERS, Model, Pipeline, samples
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STEPS = 150
# Where nothing went wrong there is nothing to draw, and the embedded cloud has no source for these namespaces.
MAY_BE_EMPTY = {
    "Failed pages by reason",
    "What logs say",
    "Throttles",
    "Alerts told nobody, by reason",
    "Invocations that raised",
    "Hours summed up",
    "Retraining",
    "Training runs",
    "Promotions",
    "Changes not told",
    "Drift",
    "Stream, records",
    "Stream, bytes",
    "Endpoint's processor",
    "Write units of tables",
    "Read units of tables",
    "Writes that tables refused",
}


@pytest.fixture(scope="module")
def watched(assembly: Path, cloud_port: int, model: Model, tmp_path_factory: pytest.TempPathFactory):
    """A pipeline with an incident open and some bad records, seen once."""
    folder = tmp_path_factory.mktemp("dashboard")
    with EmbeddedCloud(port=cloud_port, directory=folder) as cloud:
        pipeline = Pipeline.start(cloud, assembly, model)
        pipeline.invoke(outputs.DISPATCH_FUNCTION)
        pipeline.send_raw([("x", b"{bad"), ("y", b"[]")])
        pipeline.send(samples(pipeline.present, 0, STEPS))
        pipeline.wait_decided(STEPS * SERVERS)
        pipeline.wait_told(2)
        pipeline.invoke(outputs.DISPATCH_FUNCTION)
        pipeline.invoke(outputs.REPROCESS_FUNCTION)
        time.sleep(6)  # queue metrics are published every five seconds
        yield pipeline


def _dom(address: str) -> str:
    """What a browser makes of a page after its scripts ran."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH: the page is not tested in a browser here")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--timeout=10000", address]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)  # noqa: S603 -- ours
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def _states(dom: str) -> dict[str, str]:
    """Widget title -> live or empty."""
    found = re.findall(r'data-title="([^"]*)" data-state="(\w+)"', dom)
    return {title.replace("&#x27;", "'").replace("&#39;", "'"): state for title, state in found if title}


def test_every_widget_with_a_source_shows_live_data_in_the_browser(watched: Pipeline):
    cloud = watched.deployment.cloud
    names = list(data.dashboards(cloud.client))
    assert names[:2] == ["fleet", "detection"]
    assert set(names) == {"fleet", "detection", "model", "cost"}

    dom = _dom(f"{cloud.endpoint_url}/_treeline/dashboard/fleet")

    assert dom.count('class="server"') == SERVERS
    assert f"<b>{SERVERS}</b> reporting" in dom
    assert 'class="incident"' in dom
    assert "web-03" in dom
    assert re.search(r"cpu [\d.]+ %, (expected|while)", dom), "what moved, in words"
    assert dom.count("<polyline") + dom.count("<circle") >= 8
    states = _states(dom)
    assert {title for title, state in states.items() if state == "empty"} <= MAY_BE_EMPTY, states
    assert "Traceback" not in dom


def test_the_other_dashboards_are_live_where_they_have_a_source_and_say_so_where_not(watched: Pipeline, tmp_path: Path):
    saved = {
        path.stem: path.read_text() for path in save(watched.deployment.cloud.client, tmp_path, since=_an_hour_ago())
    }

    for name in ("detection", "model", "cost"):
        states = _states(saved[name])
        assert {title for title, state in states.items() if state == "empty"} <= MAY_BE_EMPTY, name
    assert "not_json" in saved["detection"]
    assert "no local source: AWS/DynamoDB" in saved["cost"]
    assert "test-1" in saved["model"], "the active model's version"
    assert 'class="state ' in saved["detection"]


def test_a_saved_page_needs_no_network(watched: Pipeline, tmp_path: Path):
    for path in save(watched.deployment.cloud.client, tmp_path, since=_an_hour_ago()):
        text = path.read_text()
        assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!treeline\.invalid)', text), path.name
        assert "<script" not in text


def test_the_page_answers_before_anything_is_deployed():
    class Nothing:
        def list_dashboards(self) -> dict[str, list[dict[str, str]]]:
            return {"DashboardEntries": []}

    assert "No dashboard is deployed" in render(lambda _: Nothing(), "fleet", now=_an_hour_ago(), since=_an_hour_ago())


def _an_hour_ago():
    return datetime.now(UTC) - timedelta(hours=1)
