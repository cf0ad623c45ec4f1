"""The release gate: the same figures twice, and a detector that has gone deaf does not pass."""

import json
from dataclasses import replace

import pytest

from cli.main import run
from cli.quality_sets import PLANS
from demo.fleet.plan import FleetPlan
from tests.offline.test_peers import check_peer, faulty_server
from treeline.core.errors import UsageError

SMALL = FleetPlan(servers=6, days=6.0, step_s=300, seed=3, incidents_per_server_week=6.0)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The gate's own file, as `--record` leaves it after a run at the shipped settings."""
    path = tmp_path_factory.mktemp("quality") / "quality.yaml"
    path.write_text("tolerance: {precision: 0.05, recall: 0.03}\nsets: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLANS, "generated", (SMALL, replace(SMALL, seed=4)))
        assert run(["quality", "--sets", "generated", "--recorded", str(path), "--record"]) == 0
        yield path


def test_two_runs_give_the_same_figures_and_pass(recorded, capsys):
    outputs = []
    for _ in range(2):
        assert run(["quality", "--sets", "generated", "--recorded", str(recorded), "--json"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    found = json.loads(outputs[0])["generated"]
    assert found["P1+P2"]["hits"] > 0


def test_a_set_is_told_at_the_page_budget_and_by_its_bands_and_kinds(recorded, capsys):
    assert run(["quality", "--sets", "generated", "--recorded", str(recorded), "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)["generated"]
    assert found["at_page_budget"]["P1+P2"]["false_pages"] <= found["P1+P2"]["false_pages"]
    assert found["at_page_budget"]["P1+P2"]["hits"] <= found["P1+P2"]["hits"]
    bands = found["bands"]
    assert (bands["unexplained"], bands["impossible"]) == (0, 0)
    assert bands["openings"] >= found["P1+P2"]["hits"]
    assert 0 < bands["outside_share"] < 0.1
    kinds = found["by_kind"]
    assert sum(kind["hits"] for kind in kinds.values()) == found["P1+P2"]["hits"]
    assert any(kind["delay_p50_s"] > 0 for kind in kinds.values())
    assert "generated, budget" in told.err
    assert "By kind, P1 and P2: generated" in told.err


def test_a_detector_with_its_thresholds_times_ten_fails(recorded, tmp_path, capsys):
    config = tmp_path / "deaf.yaml"
    config.write_text("model: {threshold_factor: 10}\n")
    assert run(["quality", "--sets", "generated", "--recorded", str(recorded), "--config", str(config)]) == 1
    assert "worse than recorded" in capsys.readouterr().out


def test_peers_are_judged_beside_ours_and_those_that_take_long_on_the_first_fleet_alone(recorded, capsys):
    args = ["quality", "--sets", "generated", "--recorded", str(recorded), "--compare"]
    args += ["--peers", "three-sigma,static alarms,EMA + 3 sigma"]
    outputs = []
    for _ in range(2):
        assert run([*args, "--json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    detectors = outputs[0]["compared"]["generated"]
    assert list(detectors)[:2] == ["Treeline", "Treeline (3)"]
    assert set(detectors) == {"Treeline", "Treeline (3)", "three-sigma (3)", "static alarms", "EMA + 3 sigma"}
    assert detectors["Treeline"] == {tier: outputs[0]["generated"][tier] for tier in ("P1", "P1+P2")}
    labels = {name: tiers["P1"]["labels"] for name, tiers in detectors.items()}
    assert labels["static alarms"] == labels["EMA + 3 sigma"] == labels["Treeline"]
    assert labels["Treeline"] > labels["Treeline (3)"] == labels["three-sigma (3)"] > 0
    assert run([*args, "--markdown"]) == 0
    told = capsys.readouterr().out
    assert "| on generated | pages |" in told
    assert "(3): on that fleet alone" in told
    assert "cpu_percent > 80 for 5 min, memory_percent > 90 for 5 min; other metrics have no usual limit" in told


def test_peers_without_compare_is_refused():
    with pytest.raises(UsageError, match="give both"):
        run(["quality", "--peers", "PCA"])


def test_a_set_that_is_not_here_is_left_out_and_said(recorded, tmp_path):
    with pytest.raises(UsageError, match="none of the sets is here"):
        run(["quality", "--sets", "smd", "--data-folder", str(tmp_path), "--recorded", str(recorded)])


def test_sarima_sees_a_plain_fault_too():
    pytest.importorskip("statsmodels")
    check_peer("SARIMA", *faulty_server())
