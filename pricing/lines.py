"""Prices a stage: the resources of its templates and a month's load, line by line."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing.load import MONTH_S, SNAPSHOT_EVERY, TABLE_BLOCKS_READ, Load, Shape, units
from treeline.core.errors import TreelineError

PRICES = Path(__file__).resolve().parents[1] / "config" / "prices.json"
HOURS = MONTH_S / 3600
FREE_DASHBOARDS = 3  # of an account
# Series of the embedded metric format: each combination of name and dimensions is billed; values seldom seen are
# billed only in the hours they occur.
STEADY_SERIES = 40  # written at every batch, tick, heartbeat or roll-up
SELDOM_SERIES, SELDOM_HOURS = 40, 0.25  # in hours with a bad record, an alert, a page or a daily check
# Of one invocation, Lambda's own three lines included, and of each group in it.
LOG_BYTES = {"ingest": 2000.0, "detect": 1800.0, "group": 200.0, "other": 900.0}
# Seconds of one invocation: a constant part, and one per record or group.
INGEST_S = (0.040, 0.0012)
DETECT_S = (0.030, 0.070)
# Seconds of a forest in detect: a constant part, one per row, and one per row and metric. Twice what a whole processor
# takes with numpy alone (100 trees, 50 rows: 2.7 ms at 4 metrics, 16 ms at 38), as 1 GB buys half of one.
FOREST_S = (0.001, 25e-6, 16e-6)
_ENDPOINT_SUBNETS = "interface endpoints x subnets"
MINUTE_RUNS = MONTH_S / 60
POINTER_READS = 2.0  # read units of the models' pointers a run: before the canary's part and before the champion's
STORED_BYTES = 100  # DynamoDB's own, of a stored item
ENTRY_TTL_S = 2 * 86_400  # of a log entry: treeline.aws.detect.detector_records
BLOCK_TTL_S = 12 * 86_400  # of a block of the seasonal table: treeline.aws.detect.table_blocks
ALARMS_PER_POLICY = 4  # of a table's autoscaling: high and low, of load and of capacity; from memory
TRAININGS = 1.0  # a month, by drift
TRAINING_HOURS = 0.5  # of the training job; as long again on the processing instance, twice


class UnpricedError(TreelineError):
    """A resource type has neither a price nor an explicit "free" in config/prices.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One line of the bill, dollars a month."""

    item: str
    part: str
    amount: str
    dollars: float
    halve: str = ""


@dataclass(frozen=True, slots=True)
class Prices:
    """The dated list."""

    date: str
    values: Mapping[str, Sequence[Any]]
    types: Mapping[str, str]
    sources: Mapping[str, str]

    def __getitem__(self, name: str) -> float:
        """Dollars; raises UnpricedError for what has no price."""
        if name not in self.values:
            raise UnpricedError(f"config/prices.json has no price {name!r}")
        return float(self.values[name][0])

    @classmethod
    def read(cls, path: Path = PRICES) -> "Prices":
        """From the data file."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        return cls(raw["date"], raw["prices"], raw["types"], raw["sources"])


@dataclass(frozen=True, slots=True)
class Capacity:
    """How a table is paid: by request, or by capacity of which this share is used."""

    provisioned: bool = False
    min_units: int = 1
    utilization: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What of a stage's settings decides prices beside the load."""

    shape: Shape
    retention_h: int
    ttl_s: int
    score_ttl_s: int
    log_days: int
    instance_type: str
    instances: int
    capacities: Mapping[str, Capacity]  # by table: observations, detector_state, scores
    training_type: str
    processing_type: str
    memory_mb: Mapping[str, int]
    is_embedded: bool = False  # the forest scores in detect, and there is no endpoint
    may_embed: bool = True  # the forest is our container's
    free_dashboards: int = FREE_DASHBOARDS


def check_types(kinds: Mapping[str, int], prices: Prices) -> None:
    """Every resource type is on a line or explicitly free; raises UnpricedError naming those that are not."""
    unknown = sorted(set(kinds) - set(prices.types) - {_ENDPOINT_SUBNETS})
    if unknown:
        raise UnpricedError(f"config/prices.json says nothing of {', '.join(unknown)}: give a line, or free with a why")


def resource_types(templates: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How many resources of each type; an interface endpoint also counts once a subnet, as it is paid."""
    found: Counter[str] = Counter()
    for template in templates:
        for resource in template["Resources"].values():
            found[resource["Type"]] += 1
            if resource.get("Properties", {}).get("VpcEndpointType") == "Interface":
                found[_ENDPOINT_SUBNETS] += len(resource["Properties"]["SubnetIds"])
    return found


def lines(kinds: Mapping[str, int], stage: Stage, load: Load, prices: Prices) -> list[CostLine]:
    """The bill of a month, dearest first.

    Raises:
        UnpricedError: A resource type nobody priced, or an instance type without a price.
    """
    check_types(kinds, prices)
    found = [
        *_stream(stage, load, prices),
        *_tables(stage, load, prices),
        _scorer(stage, load, prices),
        *_functions(stage, load, prices),
        *_queues(kinds, load, prices),
        *_watching(kinds, stage, load, prices),
        *_rest(kinds, stage, prices),
    ]
    return sorted(found, key=lambda line: -line.dollars)


def _stream(stage: Stage, load: Load, prices: Prices) -> Iterator[CostLine]:
    shards = stage.shape.shards
    yield CostLine(
        item="Kinesis shards", part="stream", amount=f"{shards} x {HOURS:.0f} h",
        dollars=shards * HOURS * prices["kinesis_shard_hour"],
        halve="half the shards: one takes 1,000 records/s",
    )  # fmt: skip
    if stage.retention_h > 24:
        yield CostLine(
            item="Kinesis retention beyond 24 h", part="stream", amount=f"{shards} shards, {stage.retention_h} h",
            dollars=shards * HOURS * prices["kinesis_extended_shard_hour"],
            halve="stream.retention_h: 24 saves it all",
        )  # fmt: skip
    yield CostLine(
        item="Kinesis puts", part="stream", amount=_millions(load.records),
        dollars=load.records / 1e6 * prices["kinesis_million_puts"],
        halve="several observations in one record (newline-separated)",
    )  # fmt: skip


def _tables(stage: Stage, load: Load, prices: Prices) -> Iterator[CostLine]:
    wru, rru = prices["dynamodb_million_wru"] / 1e6, prices["dynamodb_million_rru"] / 1e6
    per_item = units(load.item_bytes, 1024)
    table = stage.capacities
    slower = "twice stream.batching_window_s: half as many commits, alerts up to that much later"
    for item in ("Observations, written", "Observations, index by group"):
        yield _writes(table["observations"], item, load.records * per_item, "twice the interval", prices)
    log, heads = load.commits * load.entry_units, load.heads * units(load.head_bytes, 1024)
    blocks = load.table_writes * units(load.table_bytes, 1024)
    entry_kb, head_kb, table_kb = (size / 1000 for size in (load.entry_bytes, load.head_bytes, load.table_bytes))
    of_table = f", table's blocks of {table_kb:.1f} kB" if load.table_writes else ""
    yield _writes(
        table["detector_state"],
        f"Detector state: entries of {entry_kb:.1f} kB, heads of {head_kb:.0f} kB{of_table}",
        log + heads + blocks, slower, prices,
    )  # fmt: skip
    yield _writes(table["scores"], "Scores, written", load.commits * load.block_units, slower, prices)
    yield CostLine(
        item="Servers, last seen", part="tables", amount=_millions(load.seen_writes),
        dollars=load.seen_writes * wru,
    )  # fmt: skip
    queried = (
        load.event_ticks * 0.5 * units(load.event_query_bytes, 4096)
        + load.heartbeats * 0.5 * units(load.sweep_query_bytes, 4096)
    )  # fmt: skip
    sizes = f"{load.event_query_bytes / 1000:.0f} kB a run, heartbeats {load.sweep_query_bytes / 1000:.0f} kB"
    idle = table["observations"].min_units  # the table itself; runs read its index
    yield _reads(table["observations"], "Reads of observations", queried, sizes, prices, idle=idle)
    # Consistent: the last entries of the log, by a worker that knows nothing the head and half a log.
    cold = units(load.head_bytes, 4096) + units(SNAPSHOT_EVERY / 2 * load.entry_bytes, 4096)
    workers = load.ticks / MONTH_S * sum(DETECT_S)  # a group's ticks go to whichever is free
    warm = min(units((2 + workers) * load.entry_bytes, 4096), cold)
    runs = f"{_millions(load.ticks)} runs"
    state = load.ticks * (warm + load.cold_runs * cold)
    # At most: a worker that turned the slot before has them in memory.
    state += load.table_writes * TABLE_BLOCKS_READ * units(load.table_bytes, 4096)
    yield _reads(table["detector_state"], "Reads of detector state", state, runs, prices)
    if table["scores"].provisioned:
        yield _reads(table["scores"], "Reads of scores", 0.0, "the least", prices)
    yield CostLine(
        item="Reads of models' pointers", part="tables", amount=runs,
        dollars=load.ticks * POINTER_READS * rru,
    )  # fmt: skip
    observations_gb = load.records / MONTH_S * stage.ttl_s * (2 * load.item_bytes + STORED_BYTES) / 1e9
    scores_gb = load.commits / MONTH_S * stage.score_ttl_s * (load.block_bytes + STORED_BYTES) / 1e9
    states_gb = load.commits / MONTH_S * ENTRY_TTL_S * (load.entry_bytes + STORED_BYTES) / 1e9
    tables_gb = load.table_writes / MONTH_S * BLOCK_TTL_S * (load.table_bytes + STORED_BYTES) / 1e9
    total_gb = observations_gb + scores_gb + states_gb + tables_gb
    yield CostLine(
        item="Tables, stored and restorable", part="tables", amount=f"{total_gb:.1f} GB",
        dollars=total_gb * (prices["dynamodb_gb_month"] + prices["dynamodb_pitr_gb_month"]),
        halve="half detection.score_ttl_s",
    )  # fmt: skip


def _writes(table: Capacity, item: str, written: float, halve: str, prices: Prices) -> CostLine:
    if not table.provisioned:
        return CostLine(
            item=item, part="tables", amount=f"{_millions(written)} units on demand",
            dollars=written * prices["dynamodb_million_wru"] / 1e6, halve=f"{halve}; or capacity: provisioned",
        )  # fmt: skip
    capacity = max(table.min_units, written / MONTH_S / table.utilization)
    return CostLine(
        item=item, part="tables", amount=f"{capacity:.0f} units/s provisioned, {table.utilization:.0%} used",
        dollars=capacity * HOURS * prices["dynamodb_wcu_hour"], halve=halve,
    )  # fmt: skip


def _reads(table: Capacity, item: str, queried: float, sizes: str, prices: Prices, *, idle: int = 0) -> CostLine:
    """A table's or an index's reads; `idle` units are provisioned for one that nobody reads all the time."""
    halve = "twice stream.batching_window_s"
    if not table.provisioned:
        return CostLine(
            item=item, part="tables", amount=sizes,
            dollars=queried * prices["dynamodb_million_rru"] / 1e6, halve=halve,
        )  # fmt: skip
    capacity = max(table.min_units, queried / MONTH_S / table.utilization) + idle
    return CostLine(
        item=item, part="tables", amount=f"{capacity:.0f} units/s provisioned, {sizes}",
        dollars=capacity * HOURS * prices["dynamodb_rcu_hour"], halve=halve,
    )  # fmt: skip


def _scorer(stage: Stage, load: Load, prices: Prices) -> CostLine:
    """Where the forest scores, and what the other way would cost."""
    endpoint = stage.instances * HOURS * prices[f"{stage.instance_type}_hour"]
    rows = load.records / load.commits
    seconds = FOREST_S[0] + rows * (FOREST_S[1] + FOREST_S[2] * stage.shape.metrics)
    embedded = load.commits * seconds * stage.memory_mb["detect"] / 1024 * prices["lambda_arm_gb_second"]
    instances = f"{stage.instances} x {stage.instance_type}"
    if stage.is_embedded:
        return CostLine(
            item="Forest in detect", part="scorer", amount=f"{_millions(load.commits)} x {seconds * 1000:.0f} ms",
            dollars=embedded,
            halve=f"twice stream.batching_window_s; scorer: endpoint costs {endpoint:,.2f} instead ({instances})",
        )  # fmt: skip
    instead = f"scorer: embedded costs {embedded:,.2f} instead, in detect; " if stage.may_embed else ""
    return CostLine(
        item="Model endpoint", part="scorer", amount=instances, dollars=endpoint,
        halve=f"{instead}one instance serves thousands of servers, and a smaller type than ml.m5.large is burstable",
    )  # fmt: skip


def _functions(stage: Stage, load: Load, prices: Prices) -> Iterator[CostLine]:
    per_batch = load.records / load.ingest_batches
    of_detect = detect_invocations(load)
    per_invocation = load.ticks / of_detect
    for name, count, seconds in (
        ("ingest", load.ingest_batches, INGEST_S[0] + INGEST_S[1] * per_batch),
        ("detect", of_detect, DETECT_S[0] + DETECT_S[1] * per_invocation),
        ("dispatch", MINUTE_RUNS, 0.05 + load.groups * 0.004),
        ("reprocess", MINUTE_RUNS, 1.1),
    ):
        gb_s = count * seconds * stage.memory_mb[name] / 1024
        yield CostLine(
            item=f"Function {name}", part="functions", amount=f"{_millions(count)} x {seconds * 1000:.0f} ms",
            dollars=count / 1e6 * prices["lambda_million_requests"] + gb_s * prices["lambda_arm_gb_second"],
            halve="twice stream.batching_window_s" if name in ("ingest", "detect") else "",
        )  # fmt: skip


def detect_invocations(load: Load) -> float:
    """A month's. Ten ticks fit in one; the queue's readers share what a batch of ingest or a heartbeat sends."""
    bursts = load.ingest_batches + (MONTH_S / 30 if load.heartbeats else 0.0)
    return min(load.ticks, 2 * max(load.ticks / 10, bursts))


def _queues(kinds: Mapping[str, int], load: Load, prices: Prices) -> Iterator[CostLine]:
    # Sent, received and deleted in batches of ten at best; a mapping polls an empty queue with five readers.
    polls = 2 * 5 * MONTH_S / 20
    requests = load.ticks * 3 / 5 + polls
    queues = kinds.get("AWS::SQS::Queue", 0)
    yield CostLine(
        item="Queues", part="queues", amount=f"{_millions(requests)} requests, {queues} queues",
        dollars=requests / 1e6 * prices["sqs_million_requests"], halve="twice stream.batching_window_s",
    )  # fmt: skip


def _watching(kinds: Mapping[str, int], stage: Stage, load: Load, prices: Prices) -> Iterator[CostLine]:
    alarms, composites = kinds.get("AWS::CloudWatch::Alarm", 0), kinds.get("AWS::CloudWatch::CompositeAlarm", 0)
    # Reads and writes of each table, and of the index of observations.
    policies = sum(2 * c.provisioned * (2 if name == "observations" else 1) for name, c in stage.capacities.items())
    scaling = ALARMS_PER_POLICY * policies
    yield CostLine(
        item="Alarms", part="alarms", amount=f"{alarms}, {scaling} of autoscaling, {composites} over all",
        dollars=(alarms + scaling) * prices["alarm_month"] + composites * prices["composite_alarm_month"],
    )  # fmt: skip
    dashboards = kinds.get("AWS::CloudWatch::Dashboard", 0)
    yield CostLine(
        item="Dashboards", part="dashboards", amount=f"{dashboards}, {stage.free_dashboards} of an account are free",
        dollars=max(0, dashboards - stage.free_dashboards) * prices["dashboard_month"],
    )  # fmt: skip
    series = STEADY_SERIES + SELDOM_SERIES * SELDOM_HOURS + (2 if kinds.get("AWS::Logs::MetricFilter") else 0)
    yield CostLine(
        item="Metrics", part="metrics", amount=f"{series:.0f} series-months, whatever the number of servers",
        dollars=series * prices["metric_month"],
    )  # fmt: skip
    logged_gb = (
        load.ingest_batches * LOG_BYTES["ingest"]
        + detect_invocations(load) * LOG_BYTES["detect"]
        + load.ticks * LOG_BYTES["group"]
        + 2 * MINUTE_RUNS * LOG_BYTES["other"]
    ) / 1e9
    kept_gb = logged_gb * stage.log_days / 30.4 * 0.15  # compressed
    yield CostLine(
        item="Logs", part="logs", amount=f"{logged_gb:.1f} GB written, {stage.log_days} days kept",
        dollars=logged_gb * prices["logs_ingest_gb"] + kept_gb * prices["logs_gb_month"],
        halve="twice stream.batching_window_s",
    )  # fmt: skip


def _rest(kinds: Mapping[str, int], stage: Stage, prices: Prices) -> Iterator[CostLine]:
    hours = TRAININGS * TRAINING_HOURS
    training = hours * (prices[f"{stage.training_type}_hour"] + 2 * prices[f"{stage.processing_type}_hour"])
    yield CostLine(item="Training", part="training", amount=f"{TRAININGS:.0f} run a month", dollars=training)
    yield CostLine(
        item="Workflows", part="workflows", amount="one promotion a month, 300 steps",
        dollars=0.3 * prices["states_thousand_transitions"],
    )  # fmt: skip
    yield CostLine(
        item="Buckets", part="buckets", amount="1 GB, 10,000 puts",
        dollars=prices["s3_gb_month"] + 10 * prices["s3_thousand_puts"],
    )  # fmt: skip
    yield CostLine(
        item="Alerts", part="alerts", amount="1,000 published",
        dollars=0.001 * prices["sns_million_publishes"],
    )  # fmt: skip
    secrets, keys = kinds.get("AWS::SecretsManager::Secret", 0), kinds.get("AWS::KMS::Key", 0)
    yield CostLine(item="Secrets", part="secrets", amount=f"{secrets}", dollars=secrets * prices["secret_month"])
    ends = kinds.get(_ENDPOINT_SUBNETS, 0)
    if ends:
        yield CostLine(
            item="Interface endpoints", part="endpoints", amount=f"{ends} x {HOURS:.0f} h, traffic not counted",
            dollars=ends * HOURS * prices["interface_endpoint_hour"],
            halve="fewer subnets, or network.endpoints: false where the VPC has endpoints or a NAT gateway",
        )  # fmt: skip
    yield CostLine(item="Keys", part="keys", amount=f"{keys}", dollars=keys * prices["kms_key_month"])


def _millions(count: float) -> str:
    return f"{count / 1e6:,.2f} M"
