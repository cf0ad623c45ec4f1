"""A stage that commit 291f9e5 has run is updated while incidents are open and a canary runs: both go on."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from demo.ledger import Books
from tests.deployed.pipeline import SERVERS, TEST, TRAIN, Pipeline, part, samples, whole_fleet
from tests.deployed.promotions import Promotions
from tests.golden.put_back import put_back
from treeline.app.promote.canary import candidate_group
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.core.alert import AlertEvent
from treeline.core.state.codec import FORMAT, StoredState
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
# The canary starts, its first hour is judged and two incidents are open, and its last hour may be judged.
START, UPDATE, WATCHED = 40, 105, 165
POLL_S = 5  # the update has to find no step at work: the embedded cloud kills a replaced worker, Lambda lets it finish


@pytest.mark.slow("two models are trained, and a canary is watched for two hours of event time")
def test_an_update_keeps_open_incidents_and_a_running_canary(pipeline: Pipeline, assembly: Path, tmp_path: Path):
    """One incident goes on under its id, dedup key and sequence until it resolves; the canary ends as it would have."""
    promotions = Promotions(pipeline.deployment)
    promotions.train(part(whole_fleet(), TRAIN // 3, TRAIN), "test-2")
    pipeline.send(samples(pipeline.present, 0, START))
    pipeline.wait_decided(START * SERVERS)
    candidate = promotions.register("test-2", promotions.model_data("test-2"), approval="PendingManualApproval")
    execution = promotions.start("by-hand", package_arn=candidate, poll_s=POLL_S)
    promotions.stage("canary", version="test-2")
    for step in range(START, UPDATE, 5):
        pipeline.send(samples(pipeline.present, step, step + 5))
        pipeline.wait_decided((step + 5) * SERVERS)
    promotions.wait(lambda: candidate_scored(pipeline) == 2 * (UPDATE - START), "the candidate")
    pipeline.wait_told(2)
    promotions.wait_held(execution)
    assert len(promotions.table.load().verdicts) == 1
    opened = {alert.server_id: alert for alert in pipeline.told}
    assert {alert.event for alert in pipeline.told} == {AlertEvent.OPENED}

    stored = put_back(state_items(pipeline))
    put_at_once(pipeline, stored)
    pipeline.deployment.cloud.deploy(next_version(assembly, tmp_path / "next"))
    pipeline.books = Books(pipeline.deployment)  # what it remembers of the table is no longer there
    assert formats(stored) == {"test-1": {2}, "test-2": {2}}
    assert sum("delta" in item for item in stored) > 10, "beside heads there are entries of the log"

    for start, stop in ((UPDATE, UPDATE + 5), (UPDATE + 5, WATCHED)):  # a head is written where nothing is owed
        pipeline.send(samples(pipeline.present, start, stop))
        pipeline.wait_decided(stop * SERVERS)
    pipeline.invoke(outputs.DISPATCH_FUNCTION)  # as every half minute
    assert promotions.ended(execution) == "SUCCEEDED", promotions.trouble()
    pipeline.send(samples(pipeline.present, WATCHED, TEST))
    pipeline.wait_decided(TEST * SERVERS)

    pipeline.assert_as_undisturbed()
    assert sorted(opened) == ["web-03", "web-07"]
    (resolved,) = (alert for alert in pipeline.told if alert.event is AlertEvent.RESOLVED)
    first = opened["web-03"]
    assert (resolved.incident_id, resolved.dedup_key) == (first.incident_id, first.dedup_key)
    assert (first.sequence, resolved.sequence) == (1, 2)
    verdicts = promotions.table.load().verdicts
    assert [v["observations"] for v in verdicts] == [2 * 59, 2 * 60], "two of twelve servers, an hour a slice"
    assert promotions.models.read().model_version == "test-2"
    known = {item["model_version"]["S"] for item in stored if "whole" not in item}
    written = {key: item for item in state_items(pipeline) if (key := item["model_version"]["S"]) not in known}
    assert formats(written.values()) == {"test-1": {FORMAT}, "test-2": {FORMAT}}
    next_key = min(key for key in written if key.startswith("test-2#"))
    assert "block" in written[next_key], "the candidate's next commit scores; it is not given a new state"


def candidate_scored(pipeline: Pipeline) -> int:
    """How many observations the candidate has scored."""
    table = pipeline.deployment.output(outputs.SCORES_TABLE)
    blocks = ScoreBlocks(pipeline.deployment.client("dynamodb"), table)
    times = pipeline.present.times_ms
    return sum(len(b.observed_at) for b in blocks.read(candidate_group(0), int(times[0]), int(times[-1])))


def state_items(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The detector-state table."""
    pages = pipeline.deployment.client("dynamodb").get_paginator("scan")
    table = pipeline.deployment.output(outputs.DETECTOR_STATE_TABLE)
    return [item for page in pages.paginate(TableName=table, ConsistentRead=True) for item in page["Items"]]


def put_at_once(pipeline: Pipeline, items: list[dict[str, Any]]) -> None:
    """In one transaction: the workflow polls the table, and half of it in another format adds up to nothing."""
    table = pipeline.deployment.output(outputs.DETECTOR_STATE_TABLE)
    puts = [{"Put": {"TableName": table, "Item": item}} for item in items]
    pipeline.deployment.client("dynamodb").transact_write_items(TransactItems=puts)


def formats(items: Iterable[dict[str, Any]]) -> dict[str, set[int]]:
    """Model version -> the formats of the whole states in its items."""
    found: dict[str, set[int]] = {}
    for item in items:
        if whole := item.get("whole") or item.get("state"):
            state = StoredState.from_bytes(zlib.decompress(whole["B"]))
            found.setdefault(item["model_version"]["S"].partition("#")[0], set()).add(state.head["format"])
    return found


def next_version(assembly: Path, folder: Path) -> Path:
    """The assembly with a change to every function, so that its deployment replaces every worker as new code does."""
    folder.mkdir()
    for path in assembly.iterdir():
        if not path.name.endswith(".template.json"):
            (folder / path.name).symlink_to(path)
            continue
        template = json.loads(path.read_text())
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Lambda::Function":
                resource["Properties"]["Description"] = "the next version"
        (folder / path.name).write_text(json.dumps(template))
    return folder
