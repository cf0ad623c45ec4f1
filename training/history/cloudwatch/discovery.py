"""Which servers there are, and under which dimensions CloudWatch holds their metrics."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from training.history.cloudwatch.series import EC2_NAMESPACE, INSTANCE, Part, Query, Server, Source
from treeline.core.errors import UsageError

Dimensions = tuple[tuple[str, str], ...]
BASIC_STEP_S, DETAILED_STEP_S = 300, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What EC2 says of an instance."""

    instance_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    detailed_monitoring: bool = True


# Namespace and metric name -> each series' dimensions, sorted by name.
ListMetrics = Callable[[str, str], Iterable[Dimensions]]


def discover(
    instances: Iterable[Instance], sources: Sequence[Source], list_metrics: ListMetrics, *, name_tag: str | None = None
) -> tuple[Server, ...]:
    """Every instance as a server with the series to ask for, and the metrics that CloudWatch has not heard of.

    EC2's own metrics exist for every instance under its id alone. Anybody else's are looked up, as an agent may add
    dimensions of its own (image, type, group), and a series is found only under exactly those it was written with.
    ListMetrics forgets a series two weeks after its last point.

    Args:
        instances: From EC2.
        sources: Our metrics, in column order.
        list_metrics: ListMetrics.
        name_tag: Take the server's name from this tag where it is set; else the instance id.

    Raises:
        UsageError: There is no instance, or two get one name.
    """
    found = sorted(instances, key=lambda i: i.instance_id)
    if not found:
        raise UsageError("no instance found; check the region and the tags")
    listed = _by_instance(sources, list_metrics)
    servers: dict[str, Server] = {}
    for instance in found:
        server = _server(instance, sources, listed, name_tag)
        if server.server_id in servers:
            raise UsageError(
                f"two instances are called {server.server_id!r} by their tag {name_tag}; "
                "leave the tag out, or make it unique"
            )
        servers[server.server_id] = server
    return tuple(servers.values())


def _server(
    instance: Instance,
    sources: Sequence[Source],
    listed: Mapping[Part, Mapping[str, list[Dimensions]]],
    name_tag: str | None,
) -> Server:
    queries: list[Query] = []
    missing: list[str] = []
    from_ec2 = False
    for column, source in enumerate(sources):
        own: list[Query] = []
        for part in source.parts:
            if part in listed:
                candidates = listed[part].get(instance.instance_id, [])
                chosen = min(candidates, key=lambda d: (len(d), d), default=None)
            else:
                chosen = ((INSTANCE, instance.instance_id), *part.dimensions)
            if chosen is not None:
                own.append(Query(part=part, dimensions=chosen, column=column))
        if len(own) == len(source.parts):
            queries += own
            from_ec2 = from_ec2 or any(part.namespace == EC2_NAMESPACE for part in source.parts)
        else:
            missing.append(source.metric)
    return Server(
        server_id=(instance.tags.get(name_tag) if name_tag else None) or instance.instance_id,
        queries=tuple(queries),
        # One row needs all metrics: the slowest publisher sets the step.
        step_s=BASIC_STEP_S if from_ec2 and not instance.detailed_monitoring else DETAILED_STEP_S,
        missing=tuple(missing),
    )


def _by_instance(sources: Sequence[Source], list_metrics: ListMetrics) -> dict[Part, dict[str, list[Dimensions]]]:
    """The listed series of each part that is not EC2's own, by instance."""
    found: dict[Part, dict[str, list[Dimensions]]] = {}
    for source in sources:
        for part in source.parts:
            if part.namespace == EC2_NAMESPACE:
                continue
            series: dict[str, list[Dimensions]] = {}
            for dimensions in list_metrics(part.namespace, part.name):
                names = dict(dimensions)
                if INSTANCE in names and set(part.dimensions) <= set(dimensions):
                    series.setdefault(names[INSTANCE], []).append(dimensions)
            found[part] = series
    return found
