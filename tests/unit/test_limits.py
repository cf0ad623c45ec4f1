"""docs/limits.md says what the arithmetic of `treeline cost` says."""

import math
from typing import NamedTuple

import pytest

from pricing.lines import DETECT_S, detect_invocations
from pricing.load import MONTH_S, Load, Shape, month
from stacks.config import stage as config
from stacks.constructs.function_asset import ROOT
from treeline.core.arrays import Home
from treeline.core.state.fleet import FleetState

PAGE = " ".join((ROOT / "docs" / "limits.md").read_text(encoding="utf-8").split())
PROD = config.load("prod")


class Rates(NamedTuple):
    """Of a second, or at once."""

    commits: float
    ticks: float
    invocations: float
    at_once: float
    instances: int


def _load(servers: int, window_s: int = PROD.stream.batching_window_s) -> Load:
    shape = Shape(
        servers=servers,
        interval_s=30,
        shards=max(1, -(-servers // 24_000)),
        batch_size=PROD.stream.batch_size if window_s == PROD.stream.batching_window_s else 10_000,
        batching_window_s=window_s,
        late_window_s=PROD.detection.late_window_s,
    )
    state = FleetState(4, servers=[f"server-{i:04d}" for i in range(50)])
    return month(shape, state_bytes=len(state.pack(Home.STATE)))


def _rates(load: Load) -> Rates:
    invocations = detect_invocations(load) / MONTH_S
    seconds = DETECT_S[0] + DETECT_S[1] * load.ticks / detect_invocations(load)
    per_minute = 60 * load.commits / MONTH_S
    instances = math.ceil(per_minute / PROD.promotion.invocations_per_instance)
    return Rates(load.commits / MONTH_S, load.ticks / MONTH_S, invocations, invocations * seconds, instances)


def test_production_carries_fifty_thousand_servers_with_what_the_page_says():
    rates = _rates(_load(50_000))

    assert f"{rates.ticks:.0f} ticks/s = {rates.invocations:.0f} invocations/s of 0.38 s" in PAGE
    assert f"{rates.at_once:.0f} at once; set 130" in PAGE
    assert 2 * rates.at_once == pytest.approx(130, rel=0.02)
    assert f"{round(60 * rates.commits, -2):,.0f} calls a minute: {rates.instances} instances" in PAGE
    assert round(rates.commits, -2) == 800
    assert "800 commits/s" in PAGE


@pytest.mark.parametrize(("window_s", "wanted"), [(30, 30), (10, 50)])
def test_a_wider_window_needs_what_the_page_says(window_s: int, wanted: int):
    rates = _rates(_load(50_000, window_s))

    assert f"{rates.commits:.0f} commits and {rates.ticks:.0f} ticks a second" in PAGE
    assert f"{rates.at_once:.0f} invocations of detect at once (set {wanted})" in PAGE or (
        f"{rates.at_once:.0f} at once (set {wanted})" in PAGE
    )
    assert 2 * rates.at_once == pytest.approx(wanted, rel=0.05)
    assert f"{rates.instances} instances" in PAGE


def test_what_ships_carries_what_the_page_says():
    assert _rates(_load(500)).at_once == pytest.approx(0.3, abs=0.05)
    at_limit = _rates(_load(18_000))
    assert at_limit.at_once == pytest.approx(PROD.ticks.max_concurrency, rel=0.02)
    assert f"detect's ten carry {at_limit.ticks:.0f} ticks a second, 18,000 servers" in PAGE
    assert _rates(_load(6_000)).instances == PROD.promotion.max_instances
    assert _rates(_load(6_200)).instances > PROD.promotion.max_instances
