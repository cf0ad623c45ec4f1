"""Pieces of dashboards: graphs with our defaults, and widgets that a function of ours draws."""

from collections.abc import Mapping, Sequence

from aws_cdk import aws_cloudwatch as cloudwatch

from stacks.constructs.own_metrics import MINUTE, search

WIDTH = 24  # columns of a dashboard


def by_variant(name: str, *, endpoint: str, statistic: str) -> cloudwatch.MathExpression:
    """A metric of SageMaker's for every variant of an endpoint."""
    return search(
        f'{{AWS/SageMaker,EndpointName,VariantName}} MetricName="{name}" EndpointName="{endpoint}"', statistic
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
