"""The deployed training pipeline, executed from its own definition: what it registers, and what keeps it from it."""

import argparse
import json
from dataclasses import replace

import pytest

from cli import model as model_command
from demo import cloud as stage
from emulator.launcher import EmbeddedCloud
from tests.deployed.training import Training
from tests.unit.detection_fakes import METRICS, fleet
from tests.unit.override_fakes import ENTRY
from training.history.grid import Grid
from treeline.app.learn.training_runs import start_training
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.core.model.package import ModelPackage
from treeline.forest.storage import read_model_tar
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
SERVERS, DAYS, STRIDE = 4, 5, 10


def history() -> Grid:
    """Five days of four servers, an observation each ten minutes."""
    grid = fleet(SERVERS, 1440 * DAYS)
    return replace(grid, times_ms=grid.times_ms[::STRIDE], values=grid.values[::STRIDE])


@pytest.fixture(scope="module")
def training(assembly, cloud_port, tmp_path_factory):
    with EmbeddedCloud(port=cloud_port, directory=tmp_path_factory.mktemp("training")) as cloud:
        yield Training(stage.deploy(cloud, assembly))


def argument(definition: dict, step: str, flag: str, value: str) -> dict:
    """A copy of a definition with one argument of a processing step changed."""
    changed = json.loads(json.dumps(definition))
    (found,) = [s for s in changed["Steps"] if s["Name"] == step]
    arguments = found["Arguments"]["AppSpecification"]["ContainerArguments"]
    arguments[arguments.index(flag) + 1] = value
    return changed


def test_a_run_without_history_fails_and_says_so(training: Training):
    run_id = training.start("without history")
    run = training.end(run_id)
    assert run.status == "Failed"
    told = training.told(run_id)
    assert told["event"] == "training_failed"
    assert "history" in told["why"]
    assert [step["step"] for step in told["failed_steps"]] == ["Prepare"]
    assert training.versions() == []


def test_a_training_job_that_fails_registers_nothing_and_its_reason_is_told(training: Training):
    training.put_history(history())
    broken = json.loads(json.dumps(training.definition))
    (train,) = [s for s in broken["Steps"] if s["Name"] == "Train"]
    train["Arguments"]["HyperParameters"]["num_trees"] = "7"
    training.deploy(broken)
    run_id = training.start("broken forest")
    run = training.end(run_id)
    assert run.status == "Failed"
    assert "num_trees must be in [50, 1000]" in training.told(run_id)["why"]
    assert training.versions() == []


def test_a_candidate_that_is_not_good_enough_is_not_registered_and_the_reason_is_told(training: Training):
    training.deploy(argument(training.definition, "Evaluate", "--min-recall", "1.01"))
    run_id = training.start("asked too much")
    run = training.end(run_id)
    assert run.steps[-1][:2] == ("Reject", "Failed")
    why = training.told(run_id)["why"]
    assert "the candidate is not registered" in why
    assert "needed are 101%" in why
    assert training.versions() == []


def test_a_good_candidate_is_registered_and_approved_with_all_that_promotion_needs(training: Training):
    training.deploy(training.definition)
    run_id = training.start("first model", replace(ENTRY, forest={"num_trees": 60}, policy={"needed": 1, "of_last": 1}))
    again = start_training(training.pipeline, reason="drift", window_end_ms=None, request_id="another request")
    assert (again.run_id, again.is_new) == (run_id, False), "two runs at a time"
    run = training.end(run_id)
    assert run.status == "Succeeded", run
    (model,) = training.registry.models()
    assert model.arn == run.registered == training.told(run_id)["why"].removeprefix("registered ")
    assert (model.approval, model.reason, model.algorithm) == ("Approved", "first model", "container")
    artifacts = ModelArtifacts(training.deployment.client("s3"), training.deployment.output(outputs.MODELS_BUCKET))
    assert artifacts.exists(model.model_data_url)
    package = ModelPackage.from_bytes(artifacts.read(model.package_key) or b"")
    assert (package.model_version, package.fingerprint) == (model.model_version, model.fingerprint)
    assert package.metrics == METRICS
    assert package.manifest["reference"]["score_sd"] > 0
    evaluation = json.loads(artifacts.read(model.evaluation_url.split("/", 3)[3]) or b"{}")
    assert evaluation["passed"]
    assert evaluation["champion"] is None
    forest = read_model_tar(artifacts.read(model.model_data_url.split("/", 3)[3]) or b"")
    assert forest.num_trees == 60, "what an operator overrides, not the stage's number of trees"
    asked = training.asked(run_id, "Evaluate")
    assert json.loads(asked[asked.index("--policy-override") + 1]) == {"needed": 1, "of_last": 1}
    training.hosted()


def test_the_command_says_what_is_registered_and_how_runs_ended(training: Training, capsys):
    def say(*words: str) -> list[str]:
        parser = argparse.ArgumentParser()
        model_command.register(parser)
        assert model_command.run(parser.parse_args([*words, "--stage", "local"]), training.deployment.client) == 0
        return capsys.readouterr().out.splitlines()

    (model,) = training.registry.models()
    (line,) = say("list")
    assert model.model_version in line
    assert "Approved" in line
    assert "no page budget" in line, "the local stage has none"
    shown = say("show", model.model_version)
    assert model.model_version in shown[0]
    assert any("evaluation: passed" in text for text in shown)
    newest, refused, *_ = say("runs")
    assert model.arn in newest
    assert "needed are 101%" in refused
