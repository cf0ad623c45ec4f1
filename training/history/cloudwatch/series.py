"""Which CloudWatch metrics make up each of our metrics, and the series of each server."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treeline.core.errors import UsageError

EC2_NAMESPACE, AGENT_NAMESPACE = "AWS/EC2", "CWAgent"
INSTANCE = "InstanceId"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One CloudWatch metric that contributes `factor * value` (per second where `per_second`) to one of ours."""

    # As CloudWatch spells them.
    namespace: str
    name: str
    stat: str = "Average"  # `Average`, `Sum` and so on
    factor: float = 1.0  # from CloudWatch's unit to ours
    per_second: bool = False  # the value is a total over the period: divide by its seconds
    # What a matching series must have beside the instance, e.g. `(("cpu", "cpu-total"),)`.
    dimensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one of our metrics comes from: the sum of its parts."""

    metric: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One series to ask for: a part with the full dimensions of one server; `column` is our metric's position."""

    part: Part
    dimensions: tuple[tuple[str, str], ...]
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, what can be asked about it, and what cannot."""

    server_id: str
    queries: tuple[Query, ...]  # its series, by metric
    step_s: int = 60  # how often its metrics are published (s): 300 for EC2's basic monitoring
    # Our metrics for which CloudWatch lists nothing, e.g. because no agent runs.
    missing: tuple[str, ...] = ()


_MEGABIT = 8e-6

# EC2's own metrics, and memory from the CloudWatch agent: EC2 cannot see it.
EC2_SOURCES: tuple[Source, ...] = (
    Source(metric="cpu_percent", parts=(Part(namespace=EC2_NAMESPACE, name="CPUUtilization"),)),
    Source(metric="memory_percent", parts=(Part(namespace=AGENT_NAMESPACE, name="mem_used_percent"),)),
    Source(
        metric="network_mbps",
        parts=tuple(
            Part(namespace=EC2_NAMESPACE, name=name, stat="Sum", factor=_MEGABIT, per_second=True)
            for name in ("NetworkIn", "NetworkOut")
        ),
    ),
    Source(
        metric="disk_iops",
        parts=tuple(
            Part(namespace=EC2_NAMESPACE, name=name, stat="Sum", per_second=True)
            for name in ("EBSReadOps", "EBSWriteOps")
        ),
    ),
)


def read_sources(path: Path) -> tuple[Source, ...]:
    """Sources from a JSON file: `[{"metric", "parts": [{"namespace", "name", "stat", "factor", ...}]}]`.

    Raises:
        UsageError: Says what is expected.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        sources = tuple(Source(metric=row["metric"], parts=tuple(_part(p) for p in row["parts"])) for row in body)
        names = [source.metric for source in sources]
        if not names or len(set(names)) != len(names) or not all(source.parts for source in sources):
            raise ValueError(f"each metric stands once, with at least one part; got {names}")
        return sources
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f'{path} is not a list of sources such as [{{"metric": "cpu_percent", "parts": '
            f'[{{"namespace": "CWAgent", "name": "cpu_usage_active", "dimensions": [["cpu", "cpu-total"]]}}]}}]: '
            f"{error}"
        ) from error


def servers_from_json(body: Any) -> tuple[Server, ...]:
    """Read what `asdict` of servers gave."""
    return tuple(
        Server(
            server_id=row["server_id"],
            queries=tuple(
                Query(part=_part(q["part"]), dimensions=_pairs(q["dimensions"]), column=q["column"])
                for q in row["queries"]
            ),
            step_s=row["step_s"],
            missing=tuple(row["missing"]),
        )
        for row in body
    )


def _part(body: dict[str, Any]) -> Part:
    return Part(**{**body, "dimensions": _pairs(body.get("dimensions", ()))})


def _pairs(body: Any) -> tuple[tuple[str, str], ...]:
    pairs = body.items() if isinstance(body, dict) else body
    return tuple((str(name), str(value)) for name, value in pairs)
