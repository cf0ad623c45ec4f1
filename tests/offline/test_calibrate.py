"""Page budgets: read, solved on a past, and carried by the package."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cli.main import run
from training.evaluate.budget import Budget
from training.evaluate.calibrate import LEAST_PAGES, MOST_DECADES, Outcome, as_fitted, raised, solve
from training.evaluate.page_budget import rarer
from training.evaluate.pages import Tier
from treeline.core.channels import saturation
from treeline.core.detection.calibration import Calibration
from treeline.core.errors import SettingsError, UsageError
from treeline.core.model.package import ModelPackage
from treeline.settings.learning import PageBudget
from treeline.settings.values import read


@pytest.mark.parametrize(
    ("text", "p1", "p2"),
    [
        ("1 P1 and 2 P2 per server-month", 1 / 30, 2 / 30),
        ("3 p1, 14 P2 per fleet-week", 3 / 7 / 10, 14 / 7 / 10),
        ("0 P1 and 0.5 P2 per server-day", 0.0, 0.5),
        ("2 P2 and 1 P1 per server-week", 1 / 7, 2 / 7),
    ],
)
def test_a_budget_is_pages_a_server_and_day(text, p1, p2):
    budget = Budget.parse(text, servers=10)
    assert (budget.p1, budget.p2) == pytest.approx((p1, p2))


@pytest.mark.parametrize(
    "text", ["", "1 P1 per server-month", "1 P1 and 2 P1 per server-week", "1 P1 and 2 P2 per year"]
)
def test_another_form_of_budget_is_refused_with_the_form_expected(text):
    with pytest.raises(UsageError, match="1 P1 and 2 P2 per server-month"):
        Budget.parse(text, servers=3)


def test_a_stages_budget_is_for_so_many_servers():
    budget = Budget.of(PageBudget(p1_per_week=1.0, p2_per_day=2.0))
    assert (budget.p1, budget.p2) == pytest.approx((1 / 7 / 500, 2 / 500))
    assert budget.text == "1 P1 a week and 2 P2 a day for 500 servers"
    assert Budget.of(PageBudget()) is None


@pytest.mark.parametrize(
    ("given", "key"), [({"p1_per_week": 1}, "p2_per_day"), ({"p1_per_week": 0, "p2_per_day": 1}, "p1_per_week")]
)
def test_a_stages_budget_is_of_both_tiers_and_of_some_pages(given, key):
    with pytest.raises(SettingsError, match=key):
        read(PageBudget, given, "config/x.yaml")


def past_with(p1, p2, incidents=0):
    """Pages of a past: a decade is ten times fewer, but for incidents that no threshold silences."""

    def counted(p2_decades, p1_decades):
        p1_pages = incidents + int(p1 * 10.0**-p1_decades)
        return {Tier.P1: p1_pages, Tier.ALL: p1_pages + int(p2 * 10.0**-p2_decades)}

    return counted


def budget_of(p1, p2):
    """So many pages in a hundred server-days."""
    return Budget(p1=p1 / 100, p2=p2 / 100, text="of a test")


def solved(past, budget):
    return solve(past, budget, 100.0)


def test_each_tier_is_raised_by_the_least_quarter_of_a_decade_that_keeps_the_budget():
    p1, every = solved(past_with(10, 50), budget_of(3, 30))
    assert (p1.tier, every.tier) == (Tier.P1, Tier.ALL)
    assert (p1.shipped, p1.expected, p1.decades) == (10, 3, 0.5)
    assert (every.shipped, every.expected, every.decades) == (53, 31, 0.25)
    assert p1.outcome is every.outcome is Outcome.RAISED


def test_a_loose_budget_raises_nothing():
    p1, every = solved(past_with(10, 50), budget_of(10, 50))
    assert (p1.decades, every.decades) == (0.0, 0.0)
    assert p1.outcome is every.outcome is Outcome.KEPT


def test_a_past_full_of_incidents_does_not_blind_the_detector():
    """Ten incidents that two decades do not silence: what is raised for them ends where it does not help any more."""
    p1, every = solved(past_with(10, 0, incidents=10), budget_of(1, 1))
    assert p1.outcome is every.outcome is Outcome.NOT_KEPT
    assert (p1.decades, p1.expected) == (1.25, 10)
    assert every.decades == 0.0
    helps_to_the_end, _ = solved(past_with(1e6, 0), budget_of(1, 1))
    assert (helps_to_the_end.decades, helps_to_the_end.outcome) == (MOST_DECADES, Outcome.NOT_KEPT)


def test_a_past_too_short_for_pages_so_rare_raises_nothing_and_says_so():
    p1, every = solved(past_with(10, 50), budget_of(LEAST_PAGES - 0.01, 40))
    assert (p1.decades, p1.outcome) == (0.0, Outcome.TOO_SHORT)
    assert every.outcome is Outcome.RAISED  # the other tier has enough to tell
    assert solved(past_with(10, 50), budget_of(LEAST_PAGES, 40))[0].outcome is Outcome.RAISED


def test_no_page_at_all_may_be_asked_for():
    p1, _ = solved(past_with(10, 50), budget_of(0, 40))
    assert (p1.expected, p1.outcome) == (0, Outcome.RAISED)


def test_at_the_bound_a_saturated_metric_still_opens():
    """No rarity is known of saturation: what its threshold is raised by must stay below what one metric gives."""
    now = rarer(Calibration(), MOST_DECADES, MOST_DECADES)[saturation.Saturation.name]
    assert now.severity(np.array([saturation.ONE])).item() >= 1.5


@examples(max_examples=40, deadline=None)
@given(st.floats(1.5, 20), st.floats(1.01, 3), st.sampled_from(list(Calibration().thresholds)))
def test_under_the_raised_thresholds_the_same_measures_cross_the_fixed_scale(p2, ratio, name):
    shipped = Calibration()
    now = raised(shipped, p2=p2, p1=p2 * ratio)
    for wanted, severity in ((1.5, p2), (3.0, p2 * ratio)):
        measure = np.array([shipped[name].measure(severity)])
        assert shipped[name].severity(measure).item() == pytest.approx(severity, rel=1e-9)
        assert now[name].severity(measure).item() == pytest.approx(wanted, rel=1e-9)


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    rng = np.random.default_rng(2)
    stamps = pd.date_range("2026-01-01", periods=3 * 288, freq="5min", tz="UTC")
    frames = []
    for server in ("a", "b", "c"):
        values = rng.normal(50, 2, (len(stamps), 3))
        for start in rng.integers(50, len(stamps) - 20, 6):
            values[start : start + 6] += rng.uniform(10, 40)
        frames.append(pd.DataFrame(values, columns=["m1", "m2", "m3"]).assign(timestamp=stamps, server_id=server))
    path = tmp_path_factory.mktemp("past") / "past.parquet"
    pd.concat(frames).assign(split="train").to_parquet(path)
    return path


def test_without_a_budget_the_command_takes_the_stages_own(past, monkeypatch):
    monkeypatch.setattr("cli.calibrate.Budget.of", lambda setting: asked.append(setting))
    asked = []
    with pytest.raises(UsageError, match=r"prod.yaml sets no learning.page_budget"):
        run(["calibrate", "--data", str(past), "--stage", "prod"])
    assert asked == [PageBudget(p1_per_week=1.0, p2_per_day=2.0)]
    with pytest.raises(UsageError, match=r"dev.yaml sets no learning.page_budget"):
        run(["calibrate", "--data", str(past), "--stage", "dev"])
    with pytest.raises(UsageError, match="say --budget"):
        run(["calibrate", "--data", str(past)])


def test_the_command_writes_a_package_that_carries_what_it_solved(past, tmp_path, capsys):
    out, model = tmp_path / "package.zip", tmp_path / "model.tar.gz"
    command = ["calibrate", "--data", str(past), "--budget", "0 P1 and 3 P2 per server-month"]
    assert run([*command, "--out", str(out), "--model-out", str(model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    package = ModelPackage.from_bytes(out.read_bytes())
    assert package.calibration.to_json() == told["calibration"]
    assert package.manifest["page_budget"]["budget"] == "0 P1 and 3 P2 per server-month"
    again = tmp_path / "again.zip"
    assert run([*command, "--package", str(out), "--model", str(model), "--out", str(again)]) == 0
    assert ModelPackage.from_bytes(again.read_bytes()).calibration == package.calibration
    fitted, raised_before = as_fitted(package), rarer(as_fitted(package), 1.0, 1.0)
    out.write_bytes(replace(package, calibration=raised_before).to_bytes())
    loose = ["calibrate", "--data", str(past), "--budget", "900 P1 and 900 P2 per server-day"]
    assert run([*loose, "--package", str(out), "--model", str(model), "--out", str(again)]) == 0
    back = ModelPackage.from_bytes(again.read_bytes()).calibration
    assert back == fitted != raised_before, "a budget starts from what training found, not from an earlier one"
    assert "expected" in capsys.readouterr().out


def test_a_model_trained_here_expects_what_the_stages_file_says(past, tmp_path, capsys):
    stage, other = tmp_path / "stage.yaml", tmp_path / "other.yaml"
    stage.write_text("detection: {expectation: rolling, rolling_window_s: 7200}")
    other.write_text("detection: {expectation: chosen}")
    out, model = tmp_path / "package.zip", tmp_path / "model.tar.gz"
    command = ["calibrate", "--data", str(past), "--budget", "0 P1 and 3 P2 per server-month"]
    assert run([*command, "--config", str(stage), "--out", str(out), "--model-out", str(model), "--json"]) == 0
    assert ModelPackage.from_bytes(out.read_bytes()).rolling_window_s == 7200
    again = [*command, "--package", str(out), "--model", str(model), "--json"]
    assert run([*again, "--config", str(stage)]) == 0
    with pytest.raises(UsageError, match=r"trained with a rolling window of 7200 s, and --config .* says 0 s"):
        run([*again, "--config", str(other)])


def test_a_past_is_replayed_under_the_policy_and_the_clocks_of_the_stage(past, tmp_path, monkeypatch):
    seen = []

    def stop(package, score, past, budget, policy, **_):
        seen.append((policy.quiet_s, past.zones.default))
        raise UsageError("seen")

    monkeypatch.setattr("cli.calibrate.calibrated", stop)
    stage = tmp_path / "stage.yaml"
    stage.write_text("detection: {timezone: Asia/Tokyo, policy: {quiet_s: 60}}")
    with pytest.raises(UsageError, match="seen"):
        run(["calibrate", "--data", str(past), "--budget", "1 P1 and 3 P2 per fleet-week", "--config", str(stage)])
    assert seen == [(60, "Asia/Tokyo")]


def test_a_wrong_budget_is_refused_before_the_work(past):
    with pytest.raises(UsageError, match="'few'"):
        run(["calibrate", "--data", str(past), "--budget", "few"])
