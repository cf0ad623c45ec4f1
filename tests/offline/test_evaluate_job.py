"""The Evaluate step with a stage's page budget: what it raises, what it leaves, and where it says so."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.unit.detection_fakes import fleet
from training.evaluate.backtest import backtest
from training.evaluate.calibrate import MOST_DECADES, Outcome, as_fitted, at_the_start
from training.evaluate.experiment import Setup, grow_forest, openings
from training.evaluate.page_budget import rarer
from training.evaluate.pages import Tier, page_count
from training.history.grid import Grid
from training.jobs.evaluate import work
from training.prepare.fleet_file import LEAD_IN_MS, FleetFile
from training.prepare.preparation import prepare
from treeline.core.detection.policy import PolicySettings
from treeline.core.model.package import ModelPackage
from treeline.forest.storage import write_model_tar

SERVERS, STRIDE, DAYS, HELD_OUT = 4, 10, 7, 2
A_DAY = 1440 // STRIDE


def history() -> Grid:
    """A week of four servers, an observation each ten minutes, in trouble of several sizes on the last two days."""
    grid = fleet(SERVERS, 1440 * DAYS)
    grid = replace(grid, times_ms=grid.times_ms[::STRIDE], values=grid.values[::STRIDE].copy(), step_s=60.0 * STRIDE)
    first = A_DAY * (DAYS - HELD_OUT)
    for number, start in enumerate(range(first + 20, len(grid.times_ms) - 12, 24)):
        grid.values[start : start + 4, number % SERVERS] += 4.0 + 0.5 * number
    return grid


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory):
    """What Prepare and Train left: the fleet and the forest, in a folder."""
    folder, grid = tmp_path_factory.mktemp("evaluate"), history()
    first = A_DAY * (DAYS - HELD_OUT)
    prepared = prepare(replace(grid, times_ms=grid.times_ms[:first], values=grid.values[:first]), seed=1)
    holdout_from_ms = int(grid.times_ms[first])
    recent = int(np.searchsorted(grid.times_ms, holdout_from_ms - LEAD_IN_MS))
    left = FleetFile(
        prepared=prepared,
        recent=replace(grid, times_ms=grid.times_ms[recent:], values=grid.values[recent:]),
        groups=dict.fromkeys(grid.servers, 0),
        holdout_from_ms=holdout_from_ms,
    )
    left.write(folder / "fleet")
    (folder / "model").mkdir()
    forest = grow_forest(prepared.training_rows, Setup(num_samples_per_tree=8))
    (folder / "model" / "model.tar.gz").write_bytes(write_model_tar(forest))
    return SimpleNamespace(folder=folder, fleet=left, score=forest.score)


def evaluated(handed_over, budget, out):
    """Run the step; the package and evaluation.json that it leaves."""
    names = ("model-version", "model-data", "image", "role", "instance-type", "reason", "group", "controls-table")
    arguments = [word for name in (*names, "models-bucket") for word in (f"--{name}", name)]
    arguments += ["--num-trees", "50", "--num-samples-per-tree", "8", "--max-page-rate-ratio", "2"]
    arguments += ["--max-pages-per-server-week", "1000", "--max-recall-loss", "1", "--min-recall", "0"]
    arguments += ["--fleet", f"{handed_over.folder}/fleet", "--model", f"{handed_over.folder}/model"]
    nothing_active = SimpleNamespace(get_item=lambda **_: {})
    work([*arguments, "--out", str(out), "--page-budget", json.dumps(budget)], lambda _: nothing_active)
    package = ModelPackage.from_bytes((out / "package" / "package.zip").read_bytes())
    return package, json.loads((out / "package" / "evaluation.json").read_text())


def test_thresholds_are_raised_until_the_past_keeps_the_budget(handed_over, tmp_path):
    budget = {"p1_per_week": 16, "p2_per_day": 1, "servers": SERVERS}
    package, told = evaluated(handed_over, budget, tmp_path)
    p1, every = told["page_budget"]["tiers"]
    assert {p1["outcome"], every["outcome"]} == {Outcome.RAISED}
    assert p1["expected_pages"] <= p1["allowed_pages"] < p1["shipped_pages"]
    assert every["expected_pages"] <= every["allowed_pages"] < every["shipped_pages"]
    fitted = as_fitted(package)
    assert package.calibration == rarer(fitted, every["decades"], p1["decades"]) != fitted
    assert package.manifest["page_budget"] == told["page_budget"]
    assert any("16 P1 a week and 1 P2 a day for 4 servers" in reason for reason in told["reasons"])
    # A replay of its own under the raised thresholds pages as often as is told.
    past, policy = handed_over.fleet.unlearned(), PolicySettings()
    again = replace(package, seeds=at_the_start(package.seeds))
    opened = openings(backtest(again, past, handed_over.score, policy, groups=handed_over.fleet.groups).changes)
    counts = [page_count(opened, tier, servers=SERVERS, step_ms=STRIDE * 60_000) for tier in Tier]
    assert counts == [p1["expected_pages"], every["expected_pages"]]


def test_a_fleet_of_a_quarter_of_the_servers_has_a_quarter_of_the_pages(handed_over, tmp_path):
    whole, quarter = (
        evaluated(handed_over, {"p1_per_week": 70, "p2_per_day": 20, "servers": servers}, tmp_path / str(servers))[1]
        for servers in (SERVERS, 4 * SERVERS)
    )
    for large, small in zip(whole["page_budget"]["tiers"], quarter["page_budget"]["tiers"], strict=True):
        assert small["allowed_pages"] == pytest.approx(large["allowed_pages"] / 4, rel=0.01)


def test_no_threshold_is_raised_by_more_than_two_decades(handed_over, tmp_path):
    """A past full of incidents: what is left of the budget is said, and the detector still sees."""
    package, told = evaluated(handed_over, {"p1_per_week": 3, "p2_per_day": 0.01, "servers": SERVERS}, tmp_path)
    assert [tier["outcome"] for tier in told["page_budget"]["tiers"]][1] == Outcome.NOT_KEPT
    fitted = as_fitted(package)
    most = rarer(fitted, MOST_DECADES, MOST_DECADES)
    for name, now in package.calibration.thresholds.items():
        assert fitted[name].p2 <= now.p2 <= most[name].p2
        assert fitted[name].p1 <= now.p1 <= most[name].p1
    assert told["page_budget"]["most_decades"] == MOST_DECADES


def test_a_past_too_short_for_the_budget_leaves_the_thresholds_and_is_named(handed_over, tmp_path):
    package, told = evaluated(handed_over, {"p1_per_week": 1, "p2_per_day": 2, "servers": 500}, tmp_path)
    assert package.calibration == as_fitted(package)
    for tier in package.manifest["page_budget"]["tiers"]:
        assert (tier["outcome"], tier["decades"]) == (Outcome.TOO_SHORT, 0.0)
        assert tier["shipped_pages"] > tier["allowed_pages"], "there was something to raise for"
    assert any("past too short" in reason for reason in told["reasons"])


def test_a_stage_without_a_budget_keeps_what_was_fitted(handed_over, tmp_path):
    package, told = evaluated(handed_over, {}, tmp_path)
    assert package.calibration == as_fitted(package)
    assert told["page_budget"] is None
    assert "page_budget" not in package.manifest


def test_what_the_forest_learned_is_not_replayed(handed_over):
    """The training part's kept-apart rows and the held-out part are; what came before them is missing."""
    left = handed_over.fleet
    prepared, past = left.prepared, left.unlearned()
    for place in range(SERVERS):
        seen = past.times_ms[past.present()[:, place]]
        kept_apart = prepared.times_ms[prepared.held_out[:, place]]
        assert seen[0] == kept_apart[0] < left.holdout_from_ms
        learned = set(prepared.times_ms.tolist()) - set(kept_apart.tolist())
        assert not learned & set(seen.tolist())
    assert left.recent.times_ms[0] < past.times_ms[past.present().any(axis=1)][0], "more is at hand than is replayed"
