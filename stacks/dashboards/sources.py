"""What the dashboards draw from, and the pieces that several of them have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from stacks.constructs.own_metrics import own
from stacks.constructs.widgets import WIDTH, graph
from treeline.app.metrics import OwnMetric

Rows = list[list[cloudwatch.IWidget]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the dashboards draw from; constructs by their ids."""

    stage: str
    endpoint: str  # empty where the scorer is embedded
    functions: Mapping[str, lambda_.IFunction]
    work_queues: Mapping[str, sqs.IQueue]
    dead_letters: Mapping[str, sqs.IQueue]
    stream: str
    tables: Mapping[str, str]
    fleet_widget: str
    incidents_widget: str
    model_widget: str
    fleet_alarms: Sequence[cloudwatch.IAlarm]
    detector_alarms: Sequence[cloudwatch.IAlarm]
    log_metrics: Mapping[str, cloudwatch.IMetric]

    def own(
        self, metric: OwnMetric, statistic: str = "Sum", label: str = "", *, function: str = ""
    ) -> cloudwatch.Metric:
        """A metric that our functions write."""
        label = label or metric.name
        return own(metric, stage=self.stage, function=function, statistic=statistic, label=label)

    def counts(self, title: str, *metrics: OwnMetric, width: int = 8) -> cloudwatch.GraphWidget:
        """A graph of counts under their own names."""
        return graph(title, [self.own(metric) for metric in metrics], width=width)


def function_metric(function: lambda_.IFunction, name: str, label: str) -> cloudwatch.Metric:
    """A metric that Lambda writes of a function, a minute."""
    return function.metric(name, period=cdk.Duration.minutes(1), statistic="Sum", label=label)


def alarms(title: str, alarms: Sequence[cloudwatch.IAlarm]) -> cloudwatch.AlarmStatusWidget:
    """The state of some alarms."""
    return cloudwatch.AlarmStatusWidget(title=title, alarms=list(alarms), width=WIDTH, height=3 + len(alarms) // 4)
