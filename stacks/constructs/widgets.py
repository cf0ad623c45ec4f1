"""Pieces of dashboards: graphs with our defaults, and widgets that a function of ours draws."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from stacks.constructs.operations_alarm import METRICS_NAMESPACE

MINUTE = cdk.Duration.minutes(1)
WIDTH = 24  # columns of a dashboard
_DAY = cdk.Duration.days(1)


def own(name: str, *, service: str, stage: str, statistic: str = "Sum", label: str | None = None) -> cloudwatch.Metric:
    """A metric that the function `service` writes, a minute."""
    return cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=name,
        dimensions_map={"service": service, "stage": stage},
        period=MINUTE,
        statistic=statistic,
        label=label or name,
    )


def own_by(name: str, dimension: str, *, service: str, stage: str, statistic: str = "Sum") -> cloudwatch.MathExpression:
    """The same by one more dimension, whatever values it has."""
    return _search(
        f'{{{METRICS_NAMESPACE},{dimension},service,stage}} MetricName="{name}" service="{service}" stage="{stage}"',
        statistic,
    )


def by_variant(name: str, *, endpoint: str, statistic: str) -> cloudwatch.MathExpression:
    """A metric of SageMaker's for every variant of an endpoint."""
    return _search(
        f'{{AWS/SageMaker,EndpointName,VariantName}} MetricName="{name}" EndpointName="{endpoint}"', statistic
    )


def _search(what: str, statistic: str) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        expression=f"SEARCH('{what}', '{statistic}', 60)", period=MINUTE, using_metrics={}, label=""
    )


def service_metric(
    namespace: str, name: str, dimensions: Mapping[str, str], *, statistic: str = "Sum", label: str | None = None
) -> cloudwatch.Metric:
    """A metric that AWS writes, a minute."""
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dict(dimensions),
        period=MINUTE,
        statistic=statistic,
        label=label or name,
    )


def graph(
    title: str,
    metrics: Sequence[cloudwatch.IMetric],
    *,
    width: int = 8,
    unit: str = "",
    line: float | None = None,
    line_label: str = "",
    stacked: bool = False,
) -> cloudwatch.GraphWidget:
    """Lines over time; `line` draws a threshold."""
    annotations = [cloudwatch.HorizontalAnnotation(value=line, label=line_label, color="#d13212")] if line else []
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        width=width,
        height=6,
        left_y_axis=cloudwatch.YAxisProps(min=0, label=unit, show_units=False),
        left_annotations=annotations,
        stacked=stacked,
    )


def number(
    title: str, metrics: Sequence[cloudwatch.IMetric], *, width: int = 8, height: int = 4
) -> cloudwatch.SingleValueWidget:
    """The latest values in large figures."""
    return cloudwatch.SingleValueWidget(title=title, metrics=list(metrics), width=width, height=height)


def text(markdown: str, *, height: int = 2, width: int = WIDTH) -> cloudwatch.TextWidget:
    """A note."""
    return cloudwatch.TextWidget(markdown=markdown, width=width, height=height)


def drawn(title: str, function_arn: str, *, width: int = WIDTH, height: int = 8) -> cloudwatch.CustomWidget:
    """What a function of ours draws; CloudWatch calls it with the viewer's own permissions."""
    return cloudwatch.CustomWidget(
        title=title,
        function_arn=function_arn,
        width=width,
        height=height,
        update_on_refresh=True,
        update_on_resize=False,
        update_on_time_range_change=False,
    )
