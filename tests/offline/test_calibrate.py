"""Page budgets: read, solved on a past, and carried by the package."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from cli.main import run
from training.evaluate.calibrate import Budget, opening_times, pages_at, raised, solve
from training.evaluate.pages import Tier
from treeline.core.alert import AlertEvent
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import PolicySettings, decide
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState

MINUTE = 60_000
POLICY = PolicySettings()


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


@examples(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 2.0])), min_size=1, max_size=40),
    st.sampled_from([(1, 1), (2, 3), (3, 5)]),
)
def test_openings_come_when_the_policy_opens_them(observations, persistence):
    needed, of_last = persistence
    policy = PolicySettings(needed=needed, of_last=of_last)
    times = np.cumsum([minutes * MINUTE for minutes, _ in observations])
    severity = np.array([value for _, value in observations])
    state, opened = FleetState(1, servers=["a"]), []
    for at, value in zip(times, severity, strict=True):
        changes = decide(state, np.array([0]), np.array([at]), np.array([value]), policy)
        opened += [change.at for change in changes if change.event is AlertEvent.OPENED]
    known = np.ones(len(times), dtype=bool)
    assert opening_times(times, severity >= 1.5, known, policy).tolist() == opened


def noisy(servers=6, days=10, seed=1):
    rng = np.random.default_rng(seed)
    times = np.arange(days * 288) * 5 * MINUTE
    severity = rng.exponential(0.3, (len(times), servers))
    for _ in range(60):
        at, server = rng.integers(10, len(times) - 10), rng.integers(servers)
        severity[at : at + 5, server] = rng.uniform(1.0, 9.0)
    return times, severity


@pytest.mark.parametrize("text", ["1 P1 and 2 P2 per server-month", "0 P1 and 1 P2 per server-month"])
def test_the_solved_thresholds_keep_the_budget_on_the_past_they_were_solved_on(text):
    times, severity = noisy()
    budget = Budget.parse(text, servers=6)
    solution = solve(times, severity, Calibration(), budget, POLICY)
    p1, every = solution.tiers
    assert (p1.tier, every.tier) == (Tier.P1, Tier.ALL)
    assert p1.expected <= budget.p1 < p1.shipped
    assert every.expected <= every.budget == budget.p1 + budget.p2
    assert all(tier.is_budget_binding for tier in solution.tiers)
    assert p1.severity > every.severity > 1.5


def test_a_loose_budget_leaves_the_shipped_thresholds():
    times, severity = noisy()
    solution = solve(times, severity, Calibration(), Budget.parse("99 P1 and 99 P2 per server-day", servers=6), POLICY)
    assert not any(tier.is_budget_binding for tier in solution.tiers)
    for name, shipped in Calibration().thresholds.items():
        now = solution.calibration[name]
        assert (now.p2, now.p1) == pytest.approx((shipped.p2, shipped.p1), rel=2e-3)


def test_a_tighter_budget_never_lowers_a_threshold():
    times, severity = noisy()
    before = Calibration()
    for pages_allowed in (20, 5, 1, 0):
        budget = Budget.parse(f"{pages_allowed} P1 and {pages_allowed} P2 per server-month", servers=6)
        now = solve(times, severity, Calibration(), budget, POLICY).calibration
        for name in now.thresholds:
            assert now[name].p2 >= before[name].p2 - 1e-9
            assert now[name].p1 >= before[name].p1 - 1e-9
        before = now


@examples(max_examples=40, deadline=None)
@given(st.floats(1.5, 20), st.floats(1.01, 3), st.sampled_from(list(Calibration().thresholds)))
def test_under_the_raised_thresholds_the_same_measures_cross_the_fixed_scale(p2, ratio, name):
    shipped = Calibration()
    now = raised(shipped, p2=p2, p1=p2 * ratio)
    for wanted, severity in ((1.5, p2), (3.0, p2 * ratio)):
        measure = np.array([shipped[name].measure(severity)])
        assert shipped[name].severity(measure).item() == pytest.approx(severity, rel=1e-9)
        assert now[name].severity(measure).item() == pytest.approx(wanted, rel=1e-9)


def test_an_event_of_many_servers_takes_one_page_of_the_budget():
    """Five servers exceed together on four days: four pages, which a budget for twenty openings would forbid."""
    times = np.arange(10 * 288) * 5 * MINUTE
    severity = np.full((len(times), 6), 0.2)
    for day in range(4):
        severity[day * 288 + 100 : day * 288 + 105, :5] = 2.5
    severity[8 * 288 : 8 * 288 + 5, 5] = 2.0
    assert pages_at(times, severity, 1.5, POLICY) == 5
    budget = Budget.parse("0 P1 and 5 P2 per fleet-day", servers=6)  # five pages on each of ten days
    assert not any(tier.is_budget_binding for tier in solve(times, severity, Calibration(), budget, POLICY).tiers)
    once = Budget.parse("0 P1 and 0.5 P2 per fleet-day", servers=6)  # five pages in all
    _, every = solve(times, severity, Calibration(), once, POLICY).tiers
    assert (every.is_budget_binding, every.expected * 60) == (False, pytest.approx(5))
    severity[100:105, 2:5] = 1.6  # one of the events, without its three weakest
    assert pages_at(times, severity, 2.2, POLICY) == 3 + 2


def test_absent_servers_and_short_pasts():
    times, severity = noisy(days=2)
    severity[:, 0] = np.nan
    assert pages_at(times, severity, 1.5, POLICY) == pages_at(times, severity[:, 1:], 1.5, POLICY)
    with pytest.raises(UsageError, match="server-days"):
        solve(times[:50], severity[:50], Calibration(), Budget.parse("1 P1 and 2 P2 per server-day", servers=6), POLICY)


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
    assert "expected" in capsys.readouterr().out


def test_a_wrong_budget_is_refused_before_the_work(past):
    with pytest.raises(UsageError, match="'few'"):
        run(["calibrate", "--data", str(past), "--budget", "few"])
