"""The bill: arithmetic by hand, and nothing that is not priced passes."""

import dataclasses
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from cli.cost import TARGET, TARGET_SERVERS, bill, whole_bill
from pricing import lines as cost_lines
from pricing import load as cost_load
from pricing.lines import HOURS, CostLine, Prices, UnpricedError, check_types, resource_types
from pricing.load import Shape, expected_units, month, units
from stacks.config import stage as config
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.ingest.ports import NumberedReceipt, Receipt
from treeline.aws.detect import detector_records, table_blocks
from treeline.aws.detect.score_table import ScoreTable
from treeline.aws.ingest import observations, servers
from treeline.core.arrays import Home
from treeline.core.errors import UsageError
from treeline.core.expectation import season
from treeline.core.observation import Observation
from treeline.core.state import delta as state_delta
from treeline.core.state import table
from treeline.core.state.codec import StoredState
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import todays_layout

KINDS = {"AWS::Kinesis::Stream": 1, "AWS::CloudWatch::Alarm": 35, "AWS::CloudWatch::Dashboard": 4}


def _bill(servers: int, **overrides: object) -> dict[str, float]:
    stage = config.load("local", overrides)
    found = bill(stage, KINDS, Prices.read(), servers=servers, interval_s=30)
    return {line.item: line.dollars for line in found}


def test_five_hundred_servers_every_thirty_seconds_make_43_8_million_records():
    load = month(Shape(servers=500, interval_s=30, late_window_s=600), state_bytes=1000)

    assert load.records == 500 * 2 * 60 * 730
    assert load.groups == 10
    assert load.seen_writes == 500 * 730 * 4


def test_a_batch_that_fills_touches_every_group_once():
    load = month(Shape(servers=500, interval_s=30, late_window_s=600, batching_window_s=30), state_bytes=1000)

    assert load.ingest_batches == 730 * 120
    assert load.commits == pytest.approx(10 * 730 * 120)
    assert load.records / load.commits == pytest.approx(50)


def test_a_batch_that_is_full_does_not_wait_for_its_window():
    shape = Shape(servers=50_000, interval_s=30, late_window_s=600, shards=3, batching_window_s=30)
    full = month(dataclasses.replace(shape, batch_size=500), state_bytes=1000)

    assert full.ingest_batches == pytest.approx(full.records / 500)
    assert full.commits > 3 * month(shape, state_bytes=1000).commits


def test_a_further_profile_is_priced_under_its_name_at_its_own_step():
    stage = config.load("local", {"profiles": {"batch": {"step_s": 60}}})
    found = whole_bill(stage, {"": KINDS, "batch": KINDS}, Prices.read(), servers=500, interval_s=30)
    dollars = {line.item: line.dollars for line in found}

    assert dollars["batch: Kinesis puts"] == pytest.approx(dollars["Kinesis puts"] / 2)
    assert (dollars["Dashboards"], dollars["batch: Dashboards"]) == (3.0, 12.0), (
        "an account has three for nothing, once"
    )
    assert [line.dollars for line in found] == sorted(dollars.values(), reverse=True)


def test_every_started_unit_counts():
    assert [units(n, 1024) for n in (0, 1, 1024, 1025)] == [1, 1, 1, 2]


def test_lines_worked_out_by_hand():
    lines = _bill(500, stream={"shards": 2, "retention_h": 24, "max_record_age_s": 3600})

    assert lines["Kinesis shards"] == pytest.approx(2 * 730 * 0.015)
    assert lines["Observations, written"] == pytest.approx(43.8 * 0.625)
    assert lines["Alarms"] == pytest.approx(3.5)
    assert lines["Dashboards"] == pytest.approx(3.0)
    assert "Kinesis retention beyond 24 h" not in lines


def test_a_rolling_window_is_priced_in_larger_heads_and_has_no_blocks_of_a_table():
    """What a group's state weighs comes from the layout that the stage's models will have."""
    chosen, rolling = _bill(500), _bill(500, detection={"expectation": "rolling"})

    def heads_and_rest(lines: dict[str, float]) -> tuple[int, str]:
        (item,) = (item for item in lines if item.startswith("Detector state: "))
        _, heads, *rest = item.split(", ")
        return int(heads.split()[-2]), ", ".join(rest)

    packed = [
        len(FleetState(4, servers=[f"server-{i:04d}" for i in range(50)], layout=layout).pack(Home.STATE))
        for layout in (todays_layout(), todays_layout(3600.0))
    ]
    expected = [round(cost_load.COMPRESSED * each / 1000) for each in packed]
    assert heads_and_rest(chosen) == (expected[0], "table's blocks of 2.9 kB")
    assert heads_and_rest(rolling) == (expected[1], "")
    assert expected[1] > 1.1 * expected[0]
    assert rolling["Reads of detector state"] < chosen["Reads of detector state"], "no block of a table is read"


def test_shards_grow_with_the_fleet():
    few, many = _bill(500), _bill(50_000)

    assert many["Kinesis shards"] == pytest.approx(HOURS * 0.015 * 3)
    assert few["Kinesis shards"] == pytest.approx(HOURS * 0.015 * 2)


def test_a_type_without_a_price_or_an_explicit_free_is_refused():
    with pytest.raises(UnpricedError, match="AWS::EC2::NatGateway"):
        check_types({"AWS::EC2::NatGateway": 1}, Prices.read())


def test_an_interface_endpoint_is_paid_once_a_subnet_and_a_gateway_not_at_all():
    made = {
        "A": {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]}},
        "B": {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": "Gateway"}},
    }
    stage = config.load("local")
    found = bill(stage, resource_types([{"Resources": made}]), Prices.read(), servers=500, interval_s=30)

    assert {line.item: line.dollars for line in found}["Interface endpoints"] == pytest.approx(2 * 730 * 0.01)


def test_an_instance_without_a_price_is_refused():
    with pytest.raises(UnpricedError, match=r"ml\.p5\.48xlarge_hour"):
        _bill(500, promotion={"instance_type": "ml.p5.48xlarge"})


def test_every_free_type_says_why_and_every_price_has_a_known_source():
    prices = Prices.read()

    assert [t for t, line in prices.types.items() if line.startswith("free") and len(line) < 12] == []
    assert {source for _, source in prices.values.values()} <= set(prices.sources)


def test_the_size_of_a_block_is_the_codes():
    names = [f"web-server-{i:04d}" for i in range(50)]
    constant, row = cost_load.BLOCK_BYTES
    for n, metrics in ((1, 4), (8, 4), (50, 4), (50, 38)):
        block = ScoreBlock.empty(
            names, "default-0a1b2c3d4e5f", np.arange(n), np.arange(n), features=2 * metrics, metrics=metrics
        )
        block.version = 1_000_000
        each = row + cost_load.BLOCK_METRIC_BYTES * (metrics - 4)
        assert len(block.pack()) == pytest.approx(constant + n * each, rel=0.05), n


def test_the_size_of_a_block_s_item_is_the_codes():
    block = ScoreBlock.empty(
        ["web-server-0042"], "default-0a1b2c3d4e5f", np.zeros(1, int), np.zeros(1, int), features=8
    )
    client = MagicMock()
    ScoreTable(client, "scores", ttl_s=60).put(3, block, 1_700_006_400_000)
    item = client.put_item.call_args.kwargs["Item"]

    assert _dynamodb_size(item) - len(block.pack()) == pytest.approx(cost_load.OWN_BYTES, abs=10)


def test_the_size_of_an_observation_is_the_codes():
    observation = Observation(
        server_id="web-server-0042",
        observed_at_ms=1_700_006_400_123,
        metrics={
            "cpu_percent": 41.53217000000001,
            "memory_percent": 63.1,
            "network_mbps": 123.456789012345,
            "disk_iops": 9.0,
        },
        labels={"tier": "web", "environment": "production"},
    )
    receipt = Receipt(observation=observation, received_at_ms=1_700_006_400_999)
    item = observations.to_item(NumberedReceipt(receipt=receipt, group=3), ttl_s=172_800)

    assert _dynamodb_size(item) == pytest.approx(cost_load.ITEM_BYTES, rel=0.1)


def _dynamodb_size(item: dict[str, Any]) -> int:
    """AWS's rules: names and texts in UTF-8, a number half a byte a digit and one more, 3 for a map and 1 an entry."""

    def size(value: dict[str, Any]) -> int:
        ((kind, content),) = value.items()
        if kind == "M":
            return 3 + sum(len(name) + size(inner) + 1 for name, inner in content.items())
        return (len(content.strip("-").replace(".", "")) + 1) // 2 + 1 if kind == "N" else len(content)

    return sum(len(name) + size(value) for name, value in item.items())


def test_the_size_of_a_delta_is_the_codes():
    """Every element of the rows moved by noise, as after one observation: no real commit has more to say."""
    rng = np.random.default_rng(1)
    before = FleetState(4, servers=[f"web-server-{i:04d}" for i in range(50)], version=1)
    noisy = (
        "day_mean",
        "day_var",
        "trend_mean",
        "season_square",
        "mean10_mean",
        "mean10_var",
        "change_var",
        "season_offset",
    )
    noisy += ("slot_mean", "slot_square", "relation_mean", "relation_var")
    noisy += ("channel_mean", "channel_var", "score_mean", "score_var")
    for name in noisy:
        before.arrays()[name][...] = rng.normal(1.0, 0.3, before.arrays()[name].shape)
    constant, row = cost_load.DELTA_BYTES
    for rows in (4, 8, 13, 50):
        after = before.copy()
        after.version = 2
        chosen = np.arange(rows)
        for name in noisy:
            array = after.arrays()[name]
            array[chosen] *= 1 + 0.01 * rng.normal(size=array[chosen].shape)
        for name in ("seen_at", "recent", "relation_recent"):
            array = after.arrays()[name]
            array[chosen] = np.roll(array[chosen], -1, axis=1)
            array[chosen, -1] = 1_700_006_400_000 if name == "seen_at" else rng.normal(size=array[chosen, -1].shape)
        for name in ("last_at", "last_received_at"):
            after.arrays()[name][chosen] = 1_700_006_400_000 + rng.integers(0, 5000, rows)
        after.observations[chosen] += 1
        after.slot_count[chosen] += 1
        after.severity[chosen] = rng.normal(size=rows)

        delta = state_delta.pack(*(StoredState.from_bytes(state.pack(Home.STATE)) for state in (before, after)))

        assert delta is not None
        assert len(delta) < 1.15 * (constant + row * rows), rows


def test_the_size_of_a_block_of_the_seasonal_table_is_the_codes():
    state = FleetState(38, servers=[f"web-server-{i:04d}" for i in range(50)])
    assert len(table.cut(state, 0)) == pytest.approx(50 * cost_load._table_row_bytes(38), rel=0.01)


def test_what_is_known_of_the_code_is_the_codes():
    assert cost_lines.BLOCK_TTL_S == table_blocks.BLOCK_TTL_S
    assert 1000 * cost_load.SLOT_S == season.SLOT_MS
    assert cost_load.SNAPSHOT_EVERY == detector_records.SNAPSHOT_EVERY
    assert cost_load.KEPT_GROUPS == detector_records.KEPT_GROUPS
    assert cost_lines.ENTRY_TTL_S == detector_records.ENTRY_TTL_S
    assert 1000 * cost_load.SEEN_EVERY_S == servers._SEEN_EVERY_MS


def test_started_units_are_counted_row_by_row():
    assert expected_units(lambda rows: 1024.0, 5.0, 1024) == pytest.approx(1.0)
    assert expected_units(lambda rows: 1024.0 * rows, 5.0, 1024) == pytest.approx(5 / (1 - np.exp(-5)))


def test_production_as_shipped_meets_the_aim_with_an_endpoint():
    """The same lines `treeline cost --stage prod` prints; resource types by hand, as the test makes no templates."""
    kinds = {
        "AWS::CloudWatch::Alarm": 36,
        "AWS::CloudWatch::CompositeAlarm": 1,
        "AWS::CloudWatch::Dashboard": 4,
        "AWS::SQS::Queue": 7,
        "AWS::KMS::Key": 1,
        "AWS::SecretsManager::Secret": 1,
        "AWS::Logs::MetricFilter": 30,
    }
    found = bill(config.load("prod"), kinds, Prices.read(), servers=TARGET_SERVERS, interval_s=30)

    assert any(line.item == "Model endpoint" and line.dollars > 80 for line in found)
    assert sum(line.dollars for line in found) / TARGET_SERVERS <= TARGET


def test_a_wider_window_is_cheaper():
    cheap = dataclasses.replace(Shape(servers=500, interval_s=30, late_window_s=600), batching_window_s=10)

    assert (
        month(cheap, state_bytes=1).commits
        < month(Shape(servers=500, interval_s=30, late_window_s=600), state_bytes=1).commits
    )


def test_no_servers_is_wrong_use():
    from cli.main import run

    with pytest.raises(UsageError, match="at least 1"):
        run(["cost", "--servers", "0"])


def test_the_scorer_s_line_says_what_either_costs():
    """50 rows a commit, 4 metrics: 1 ms and 50 x 0.089 ms of a function of 1 GB, or an instance all month."""
    fleet: dict[str, Any] = {"stream": {"shards": 1, "batching_window_s": 30, "batch_size": 10_000}}
    prices = Prices.read()

    def scorer(**overrides: Any) -> CostLine:
        found = bill(config.load("local", fleet | overrides), KINDS, prices, servers=500, interval_s=30)
        (line,) = (line for line in found if line.part == "scorer")
        return line

    hosted, embedded = scorer(), scorer(scorer="embedded")
    commits = 10 * 730 * 120

    assert hosted.dollars == pytest.approx(730 * prices["ml.m5.large_hour"])
    assert embedded.dollars == pytest.approx(commits * 0.00545 * prices["lambda_arm_gb_second"])
    assert f"scorer: embedded costs {embedded.dollars:,.2f} instead" in hosted.halve
    assert f"scorer: endpoint costs {hosted.dollars:,.2f} instead" in embedded.halve
    assert "embedded" not in scorer(learning={"algorithm": "built-in"}).halve, "it could not be read there"
