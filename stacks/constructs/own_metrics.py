"""The metrics that our functions write, as dashboards and alarms name them."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from treeline.app.metrics import NAMESPACE, OwnMetric

MINUTE = cdk.Duration.minutes(1)


def own(
    metric: OwnMetric, *, stage: str, function: str = "", statistic: str = "Sum", label: str | None = None
) -> cloudwatch.Metric:
    """A metric of ours, a minute; of `function` where several functions write it.

    `stage` is what the function calls its deployment. A graph has a label, an alarm has none: on a metric with a label
    it becomes metric math.
    """
    [service] = [name for name in metric.functions if function in ("", name)]
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=metric.name,
        dimensions_map={"service": service, "stage": _stage(metric, stage)},
        period=MINUTE,
        statistic=statistic,
        label=label,
    )


def own_by(metric: OwnMetric, *, stage: str) -> cloudwatch.MathExpression:
    """The same by its further dimension, or by function where all write it, whatever values there are."""
    service = f' service="{metric.functions[0]}"' if metric.functions else ""
    further = f"{metric.by}," if metric.by else ""
    of_stage = f'stage="{_stage(metric, stage)}"'
    return search(f'{{{NAMESPACE},{further}service,stage}} MetricName="{metric.name}"{service} {of_stage}', "Sum")


def _stage(metric: OwnMetric, deployment: str) -> str:
    """One function delivers the pages of all profiles, and counts them under the stage's name alone."""
    return deployment.partition("/")[0] if metric.functions == ("notify_pagerduty",) else deployment


def search(what: str, statistic: str) -> cloudwatch.MathExpression:
    """All metrics that CloudWatch finds, a minute."""
    return cloudwatch.MathExpression(
        expression=f"SEARCH('{what}', '{statistic}', 60)", period=MINUTE, using_metrics={}, label=""
    )
