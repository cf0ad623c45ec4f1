"""Whether what arrives is in the unit that the stage declares: percent, and not ratios."""

from typing import Any

import numpy as np

from cli.doctor.checks import Finding, ok, todo
from stacks.config.stage import StageConfig
from treeline.aws.detect.group_observations import INDEX
from treeline.aws.dynamodb import items_of
from treeline.core.model.ratios import is_percent, ratio_hours
from treeline.core.times import iso

HOUR_MS = 3_600_000
MOST_GROUPS = 20  # 1,000 servers of an hour are read in seconds; senders of one fleet are mostly set up alike
_NAMED = 3


def percent_values(dynamodb: Any, table: str, stage: StageConfig, now_ms: int) -> Finding:
    """Metrics in percent whose values of the last hour all lie within 0 to 1, and whose.

    Something is to be done where half of the servers are so; a few may just be idle, and are named.

    Args:
        dynamodb: A client.
        table: The observations'.
        stage: The stage's or profile's settings.
        now_ms: The hour's end.
    """
    names = [metric.name for metric in stage.metrics if is_percent(metric)]
    if not names:
        return ok("no metric is in percent")
    suspects: dict[str, list[str]] = {name: [] for name in names}
    reporting = dict.fromkeys(names, 0)
    for group in range(MOST_GROUPS):
        for server, values in _last_hour(dynamodb, table, group, now_ms, names).items():
            found, known = ratio_hours(np.zeros(len(values), dtype=np.int64), values)
            for name, is_ratio, is_known in zip(names, found.tolist(), known.tolist(), strict=True):
                reporting[name] += is_known
                if is_ratio:
                    suspects[name].append(server)
    told = [_sentence(name, servers) for name, servers in suspects.items() if servers]
    if any(2 * len(servers) >= reporting[name] > 0 for name, servers in suspects.items()):
        return todo("; ".join(told), "send percent, 0 to 100: the sender seems to send the share of 1")
    if not any(reporting.values()):
        return ok("nothing came in the last hour")
    return ok("; ".join([*told, "most servers send percent"] if told else ["no value looks like a ratio"]))


def _last_hour(dynamodb: Any, table: str, group: int, now_ms: int, names: list[str]) -> dict[str, np.ndarray]:
    """By server of a group its values (n, metrics), NaN where missing."""
    rows: dict[str, list[list[float]]] = {}
    items = items_of(
        dynamodb,
        TableName=table,
        IndexName=INDEX,
        KeyConditionExpression="#group = :group AND group_sort >= :start",
        ExpressionAttributeNames={"#group": "group"},
        ExpressionAttributeValues={":group": {"N": str(group)}, ":start": {"S": iso(max(0, now_ms - HOUR_MS))}},
    )
    for item in items:
        metrics = item["metrics"]["M"]
        row = [float(metrics[name]["N"]) if name in metrics else float("nan") for name in names]
        rows.setdefault(item["server_id"]["S"], []).append(row)
    return {server: np.array(values) for server, values in rows.items()}


def _sentence(name: str, servers: list[str]) -> str:
    shown = ", ".join(sorted(servers)[:_NAMED])
    more = f" and {len(servers) - _NAMED} more" if len(servers) > _NAMED else ""
    return f"probably a ratio: {name} of {shown}{more}, within 0 to 1 for the last hour"
