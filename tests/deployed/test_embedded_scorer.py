"""A stage whose forest scores in detect: pages as with an endpoint, promotion and both ways back without one."""

from dataclasses import replace

import pytest

from demo import cloud as stage
from demo.learn.bias import shrunk
from emulator.launcher import EmbeddedCloud
from emulator.permissions.calls import FOLDER_VARIABLE
from stacks.config.stage import merged
from tests.deployed.pipeline import OVERRIDES, SERVERS, TRAIN, Model, PageStep, Pipeline, part, samples, whole_fleet
from tests.deployed.promotions import Promotions
from tests.infra.permissions import Templates, Use, not_allowed, recorded
from tests.infra.templates import Stage
from tests.unit.detection_fakes import METRICS
from treeline.core.profile import declared
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
# Two slices of half an hour, so that two canaries fit into the fleet's three hours.
CANARY = {"hold_s": 3600, "slice_s": 1800, "limits": {"min_observations": 50}}
FIRST, SECOND, LAST, MOVED, ALL = 30, 66, 150, 170, 180  # steps: the canaries' beginnings, the second one's end


@pytest.mark.slow("three models are made, and two canaries are watched for an hour and a half of event time")
def test_a_stage_without_an_endpoint_pages_promotes_and_rolls_back(
    tmp_path, cloud_port, model: Model, assembly, monkeypatch
):
    """A biased model has to go after its first slice; the next one takes over after two; back by hand; then hosted."""
    calls = tmp_path / "calls"  # apart from the recording, which is held against the templates with an endpoint
    calls.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(calls))
    with EmbeddedCloud(port=cloud_port, directory=tmp_path) as cloud:
        overrides = merged(OVERRIDES, {"scorer": "embedded", "promotion": CANARY})
        embedded = stage.build(tmp_path / "assembly", declared(METRICS), cloud.pagerduty.url, overrides)
        pipeline = Pipeline.start(cloud, embedded, model)
        promotions = Promotions(pipeline.deployment)
        package = promotions.train(part(whole_fleet(), TRAIN // 3, TRAIN), "test-2")

        send(pipeline, 0, FIRST)
        promotions.store(replace(package, model_version="test-3"))
        promotions.register("test-3", biased(promotions))
        biased_run = promotions.stage("canary", version="test-3").execution
        send(pipeline, FIRST, SECOND)
        assert promotions.ended(biased_run) == "FAILED", promotions.trouble()
        assert "slice 1 breached its limits: " in promotions.table.load().reason
        assert promotions.models.read().model_version == "test-1"

        arn = promotions.register("test-2", promotions.model_data("test-2"))
        good_run = promotions.stage("canary", version="test-2").execution
        send(pipeline, SECOND, LAST)
        assert promotions.ended(good_run) == "SUCCEEDED", promotions.trouble()
        verdicts = promotions.table.load().verdicts
        assert [v["observations"] for v in verdicts] == [2 * 29, 2 * 30], "two of twelve servers, half an hour a slice"
        pointer = promotions.models.read()
        assert (pointer.model_version, pointer.previous_version) == ("test-2", "test-1")
        assert pointer.model_data_url == promotions.model_data("test-2")

        send(pipeline, LAST, MOVED)
        assert opened(pipeline.table_sequences()) == opened(pipeline.offline_sequences())
        assert opened(pipeline.table_sequences()).keys() == {"web-03", "web-07"}
        ledger = pipeline.ledger()
        assert (ledger.scored_twice, ledger.lost) == (set(), set())

        promotions.store(replace(package, model_version="test-4"))
        registered = promotions.register("test-4", promotions.model_data("test-2"), approval="PendingManualApproval")
        at_once = promotions.start("at-once", package_arn=registered, hold_s=0)
        assert promotions.ended(at_once) == "SUCCEEDED", promotions.trouble()
        assert promotions.ended(promotions.start("back", model_version="test-2", hold_s=0)) == "SUCCEEDED"
        assert promotions.models.read().model_version == "test-2"
        assert promotions.ended(promotions.start("again", package_arn=arn)) == "SUCCEEDED", "already there"

        pipeline.invoke(outputs.REPROCESS_FUNCTION)
        assert promotions.sagemaker.list_endpoints()["Endpoints"] == []
        assert promotions.sagemaker.list_models()["Models"] == [], "nothing was ever hosted"
        called = recorded(calls)
        assert Use("detection/DetectFunction", "s3:GetObject", "state/Models/forests/*") in called
        assert not_allowed(Templates(Stage("local", embedded)).allowed(), called) == set()

        decides = promotions.models.read()
        cloud.deploy(assembly)  # the same stage with an endpoint, which promotion of the active model makes
        promotions.endpoint = "treeline-local"
        assert promotions.ended(promotions.start("hosted", package_arn=arn)) == "SUCCEEDED", promotions.trouble()
        assert promotions.variants() == ["test-2"]
        assert promotions.models.read().activation == decides.activation, "nothing is handed over anew"
        send(pipeline, MOVED, ALL)


def send(pipeline: Pipeline, start: int, stop: int) -> None:
    """Steps of the fleet, until the champion has decided them; then the candidate has its turn once more."""
    pipeline.send(samples(pipeline.present, start, stop))
    pipeline.wait_decided(stop * SERVERS)
    pipeline.invoke(outputs.DISPATCH_FUNCTION)


def biased(promotions: Promotions) -> str:
    """The second model's forest, to which every observation looks stranger; its address."""
    s3, url = promotions.deployment.client("s3"), promotions.model_data("test-2")
    body = s3.get_object(Bucket=promotions.bucket, Key=url.removeprefix(f"s3://{promotions.bucket}/"))["Body"].read()
    s3.put_object(Bucket=promotions.bucket, Key="forests/test-3/output/model.tar.gz", Body=shrunk(body))
    return f"s3://{promotions.bucket}/forests/test-3/output/model.tar.gz"


def opened(sequences: dict[str, list[PageStep]]) -> dict[str, PageStep]:
    """Server -> what its first page said; both incidents open under the first model, in the cloud as offline."""
    return {server: steps[0] for server, steps in sequences.items()}
