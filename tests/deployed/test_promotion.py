"""The promotion workflow on the deployed templates: approval, canary, cut-over, roll-back, and what goes wrong."""

import argparse
import json
from dataclasses import replace

import pytest

from cli import model as model_command
from tests.deployed.pipeline import SERVERS, TRAIN, Pipeline, part, samples, whole_fleet
from tests.deployed.promotions import Promotions
from treeline.app.promote.comparison import scored
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.core.alert import AlertEvent
from treeline.core.model.drift import HOUR_MS
from treeline.core.model.package import ModelPackage
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
START, WATCHED, ALL = 30, 165, 180


def opened(alerts) -> set[str]:
    return {a.server_id for a in alerts if a.event is AlertEvent.OPENED}


def test_an_approved_model_is_watched_and_takes_over(pipeline: Pipeline, assembly, capsys):
    """Approved twice, deployed over, restarted in the middle: one promotion, no page from it, no incident lost."""
    promotions = Promotions(pipeline.deployment)
    promotions.train(part(whole_fleet(), TRAIN // 3, TRAIN), "test-2")
    pipeline.send(samples(pipeline.present, 0, START))
    pipeline.wait_decided(START * SERVERS)

    arn = promotions.register("test-2", promotions.model_data("test-2"))
    progress = promotions.stage("canary", version="test-2")
    promotions.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert promotions.variants() == ["blue", "test-2"]
    before = promotions.sagemaker.describe_endpoint(EndpointName=promotions.endpoint)
    assert {v["VariantName"]: v["DesiredWeight"] for v in before["ProductionVariants"]} == {"blue": 1.0, "test-2": 0.0}

    pipeline.send(samples(pipeline.present, START, 100))
    pipeline.wait_decided(100 * SERVERS)
    pipeline.deployment.cloud.deploy(assembly)
    after = promotions.sagemaker.describe_endpoint(EndpointName=promotions.endpoint)
    kept = ("EndpointConfigName", "EndpointStatus", "ProductionVariants")
    assert {k: after[k] for k in kept} == {k: before[k] for k in kept}, "a deployment touches no canary"

    promotions.wait(lambda: len(promotions.table.load().verdicts) >= 1, "a first slice")
    promotions.states.stop_execution(executionArn=progress.execution, cause="somebody stopped it")
    restarted = promotions.start("again", package_arn=arn)
    pipeline.send(samples(pipeline.present, 100, WATCHED))
    pipeline.wait_decided(WATCHED * SERVERS)
    pipeline.invoke(outputs.DISPATCH_FUNCTION)  # as every half minute
    assert promotions.ended(restarted) == "SUCCEEDED", promotions.trouble()

    assert len(promotions.executions()) == 2, "approved twice, started once; once more by hand"
    assert promotions.variants() == ["test-2"]
    pointer = promotions.models.read()
    assert (pointer.model_version, pointer.previous_version) == ("test-2", "test-1")
    verdicts = promotions.table.load().verdicts
    assert [v["observations"] for v in verdicts] == [2 * 59, 2 * 60], "two of twelve servers, an hour a slice"

    pipeline.send(samples(pipeline.present, WATCHED, ALL))
    pipeline.wait_decided(ALL * SERVERS)

    def both_opened() -> bool:
        pipeline.told += pipeline.feed.read()
        return opened(pipeline.told) >= {"web-03", "web-07"}

    promotions.wait(both_opened, "both incidents told")
    assert opened(pipeline.told) == {"web-03", "web-07"}
    assert len([a for a in pipeline.told if a.event is AlertEvent.OPENED]) == 2
    assert pipeline.ledger().scored_twice == set()

    said = [change["event"] for change in promotions.changes()]
    assert [s for s in said if s != "model_slice"] == [
        "model_started", "model_canary", "model_resumed", "model_cut_over", "model_done",
    ]  # fmt: skip
    assert said.count("model_slice") == 2
    told = [c["event"]["payload"]["summary"] for c in pipeline.deployment.cloud.pagerduty.changes()]
    assert [summary.split()[2] for summary in told] == ["decides", "takes", "is"]
    scaling = pipeline.deployment.client("application-autoscaling")
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert [t["ResourceId"] for t in targets] == [f"endpoint/{promotions.endpoint}/variant/test-2"]
    captured = pipeline.deployment.client("s3").list_objects_v2(Bucket=promotions.bucket, Prefix="capture/")
    assert captured.get("KeyCount", 0) > 0, "a tenth of requests and answers is kept"

    back = promotions.start("back", model_version="test-1", hold_s=0)
    assert promotions.ended(back) == "FAILED", "a model that was never promoted is not known"
    assert promotions.models.read().model_version == "test-2"
    by_hand(promotions, capsys)


def by_hand(promotions: Promotions, capsys) -> None:
    """A third model at once, without a canary, and back to the second: the two commands, at the stage's own pace."""

    def say(*words: str) -> dict:
        parser = argparse.ArgumentParser()
        model_command.register(parser)
        arguments = parser.parse_args([*words, "--stage", "local", "--json"])
        assert model_command.run(arguments, promotions.deployment.client) == 0
        return json.loads(capsys.readouterr().out)

    package = ModelPackage.from_bytes(promotions.package("test-2"))
    promotions.store(replace(package, model_version="test-3"))
    promotions.register("test-3", promotions.model_data("test-2"), approval="PendingManualApproval")
    assert promotions.ended(say("promote", "test-3", "--hold", "0")["execution"]) == "SUCCEEDED", promotions.trouble()
    assert promotions.models.read().model_version == "test-3"
    assert promotions.ended(say("rollback")["execution"]) == "SUCCEEDED", promotions.trouble()
    pointer = promotions.models.read()
    assert (pointer.model_version, pointer.previous_version) == ("test-2", "test-3")
    assert promotions.variants() == ["test-2"]
    assert {m["model_version"]: m["is_active"] for m in say("list")} == {"test-2": True, "test-3": False}


def test_a_biased_model_is_rolled_back_and_pages_nobody(pipeline: Pipeline):
    """One standard deviation off: rolled back at the first slice that shows it; then what cannot be promoted at all."""
    promotions = Promotions(pipeline.deployment)
    package = promotions.train(part(whole_fleet(), TRAIN // 3, TRAIN), "test-2")
    pipeline.send(samples(pipeline.present, 0, START))
    pipeline.wait_decided(START * SERVERS)
    sigma = float(package.seeds.score_var.mean() ** 0.5)
    pipeline.deployment.cloud.sagemaker.fault(promotions.endpoint, "biased", variant="test-2", offset=sigma)
    promotions.register("test-2", promotions.model_data("test-2"))
    execution = promotions.stage("canary", version="test-2").execution
    pipeline.send(samples(pipeline.present, START, WATCHED))
    pipeline.wait_decided(WATCHED * SERVERS)
    pipeline.invoke(outputs.DISPATCH_FUNCTION)
    assert promotions.ended(execution) == "FAILED", promotions.trouble()

    progress = promotions.table.load()
    assert progress.stage.value == "rolled_back"
    assert "score_shift" in progress.reason
    assert len(progress.verdicts) == 1, "an hour into the canary"
    assert progress.verdicts[0]["measures"]["score_shift"] == pytest.approx(1.0, abs=0.3)
    assert promotions.variants() == ["blue"]
    assert promotions.models.read().model_version == "test-1"
    pipeline.told += pipeline.feed.read()
    assert {a.model_version for a in pipeline.told} <= {"test-1"}
    assert promotions.changes()[-1]["event"] == "model_rolled_back"

    data = promotions.model_data("test-2")
    promotions.store(replace(package, model_version="test-3"))
    other = replace(package, model_version="test-4", metrics=("cpu_percent", "b", "c", "d"))
    promotions.store(other)
    s3 = pipeline.deployment.client("s3")
    s3.put_object(Bucket=promotions.bucket, Key="forests/broken.tar.gz", Body=b"no forest")
    broken = promotions.register("test-3", f"s3://{promotions.bucket}/forests/broken.tar.gz", approval="Rejected")
    for name, package_arn, why in (
        ("no-package", promotions.register("test-5", data, approval="Rejected"), "no model package at packages/test-5"),
        ("other-metrics", promotions.register("test-4", data, approval="Rejected"), "was trained on"),
        ("gone", broken[: broken.rfind("/")] + "/99", "no model package arn"),
        ("broken", broken, "did not take the configuration"),
    ):
        failed = promotions.start(name, package_arn=package_arn)
        assert promotions.ended(failed) == "FAILED"
        assert why in promotions.changes()[-1]["summary"], name
        assert promotions.variants() == ["blue"]
        assert promotions.models.read().model_version == "test-1"
    blocks = ScoreBlocks(pipeline.deployment.client("dynamodb"), pipeline.deployment.output(outputs.SCORES_TABLE))
    start, end = int(pipeline.present.times_ms[0]), int(pipeline.present.times_ms[-1])
    assert len(scored(blocks.read(0, start, end), start, end)) == WATCHED * SERVERS, "detection went on all the while"
    drifts_once(promotions, end)


def drifts_once(promotions: Promotions, decided_ms: int) -> None:
    """The two scheduled functions as deployed: hours summed up, drift found and told, one training run started."""
    pipeline = promotions.deployment.output(outputs.PIPELINE_NAME)

    def runs() -> list[dict]:
        answer = promotions.sagemaker.list_pipeline_executions(PipelineName=pipeline)
        return list(answer["PipelineExecutionSummaries"])

    promotions.changes()
    summed = promotions.invoke(outputs.ROLLUP_FUNCTION, decided_ms)
    assert summed["scores"] > 0
    assert promotions.invoke(outputs.DRIFT_FUNCTION, decided_ms)["outcome"] == "stable", "three hours are no drift"
    assert runs() == []

    later_ms = decided_ms + 30 * 24 * HOUR_MS
    promotions.fill_hours("test-1", later_ms, days=14, shift_sd=2.0)
    report = promotions.invoke(outputs.DRIFT_FUNCTION, later_ms)
    assert (report["outcome"], report["measure"]) == ("retrain", "scores")
    assert report["breaches"] >= 3
    (run,) = runs()
    assert run["PipelineExecutionArn"] == report["run_id"]
    (told,) = promotions.changes()
    assert (told["event"], told["outcome"], told["run_id"]) == ("model_retraining", "retrain", report["run_id"])
    assert told["runbook_url"].endswith("model-drift.md")
    again = promotions.invoke(outputs.DRIFT_FUNCTION, later_ms + 24 * HOUR_MS)
    assert (again["outcome"] in ("retraining_runs", "cooling_down"), again["run_id"]) == (True, "")
    assert len(runs()) == 1
    found = promotions.deployment.client("cloudwatch").list_metrics(Namespace="Treeline", MetricName="ScoreDrift")
    assert found["Metrics"], "a metric an alarm can see"
