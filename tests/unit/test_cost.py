"""The bill: arithmetic by hand, and nothing that is not priced passes."""

import dataclasses

import numpy as np
import pytest

from stacks import config
from treeline.app.scoreblock import ScoreBlock
from treeline.cli.cost import bill
from treeline.cli.cost_lines import HOURS, Prices, UnpricedError, check_types, resource_types
from treeline.cli.cost_load import ROW_BYTES, Shape, month, units
from treeline.core.errors import UsageError

KINDS = {"AWS::Kinesis::Stream": 1, "AWS::CloudWatch::Alarm": 35, "AWS::CloudWatch::Dashboard": 4}


def _bill(servers: int, **overrides: object) -> dict[str, float]:
    stage = config.load("local", overrides)
    found = bill(stage, KINDS, Prices.read(), servers=servers, interval_s=30)
    return {line.item: line.dollars for line in found}


def test_five_hundred_servers_every_thirty_seconds_make_43_8_million_records():
    load = month(Shape(servers=500, interval_s=30), state_bytes=1000)

    assert load.records == 500 * 2 * 60 * 730
    assert load.groups == 10
    assert load.seen_writes == 500 * 730 * 12


def test_a_batch_that_fills_touches_every_group_once():
    load = month(Shape(servers=500, interval_s=30, batching_window_s=30), state_bytes=1000)

    assert load.ingest_batches == 730 * 120
    assert load.commits == pytest.approx(10 * 730 * 120)
    assert load.rows_per_commit == pytest.approx(50)


def test_every_started_unit_counts():
    assert [units(n, 1024) for n in (0, 1, 1024, 1025)] == [1, 1, 1, 2]


def test_lines_worked_out_by_hand():
    lines = _bill(500, stream={"shards": 2, "retention_h": 24, "max_record_age_s": 3600})

    assert lines["Kinesis shards"] == pytest.approx(2 * 730 * 0.015)
    assert lines["Observations, written"] == pytest.approx(43.8 * 0.625)
    assert lines["Alarms"] == pytest.approx(3.5)
    assert lines["Dashboards"] == pytest.approx(3.0)
    assert "Kinesis retention beyond 24 h" not in lines


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


def test_the_size_of_a_row_is_the_codes():
    few, many = (len(ScoreBlock.empty(["a"] * 1, "m", np.zeros(n, int), np.arange(n)).pack()) for n in (1, 101))

    assert (many - few) / 100 == pytest.approx(ROW_BYTES, abs=0.1)


def test_a_wider_window_is_cheaper():
    cheap = dataclasses.replace(Shape(servers=500, interval_s=30), batching_window_s=10)

    assert month(cheap, state_bytes=1).commits < month(Shape(servers=500, interval_s=30), state_bytes=1).commits


def test_no_servers_is_wrong_use():
    from treeline.cli.main import run

    with pytest.raises(UsageError, match="at least 1"):
        run(["cost", "--servers", "0"])
