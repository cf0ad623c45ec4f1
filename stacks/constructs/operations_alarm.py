"""An alarm on Treeline itself. It answers one operator's question and names its runbook page."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from constructs import Construct

from stacks.constructs.stage_stack import stage_of

RUNBOOK_FOLDER = "docs/runbooks"
_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
_BREACHING, _HARMLESS = cloudwatch.TreatMissingData.BREACHING, cloudwatch.TreatMissingData.NOT_BREACHING


class OperationsAlarm(Construct):
    """Tells the operations topic when `metric` is past `threshold` in `datapoints` of `periods` periods of that metric.

    An alarm of absence tells when nothing was counted in them, or nothing measured.
    Its runbook page is named as it is (ManyAnomalies: many-anomalies), unless `runbook` names another.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        question: str,
        metric: cloudwatch.IMetric,
        *,
        runbook: str = "",
        threshold: float = 0,
        datapoints: int = 1,
        periods: int = 1,
        is_absence: bool = False,
    ) -> None:
        super().__init__(scope, id_)
        self.alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_description=f"{question} Runbook: {RUNBOOK_FOLDER}/{runbook or runbook_of(id_)}.md",
            metric=metric,
            threshold=1 if is_absence else threshold,
            comparison_operator=_BELOW if is_absence else _ABOVE,
            evaluation_periods=periods,
            datapoints_to_alarm=datapoints,
            treat_missing_data=_BREACHING if is_absence else _HARMLESS,
        )
        tell_operations(self, self.alarm)


def tell_operations(scope: Construct, alarm: cloudwatch.AlarmBase) -> None:
    """Publish on the operations topic when `alarm` starts, and when it is over."""
    action = actions.SnsAction(stage_of(scope).operations)
    alarm.add_alarm_action(action)
    alarm.add_ok_action(action)


def runbook_of(id_: str) -> str:
    """ManyAnomalies -> many-anomalies, the page's name."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in id_).lstrip("-")


def queue_depth(queue: cdk.aws_sqs.IQueue) -> cloudwatch.Metric:
    """Messages that wait in `queue`, most in a minute."""
    return queue.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(1), statistic="Maximum")


def queue_age_s(queue: cdk.aws_sqs.IQueue) -> cloudwatch.Metric:
    """Age of the oldest message of `queue`, seconds."""
    return queue.metric_approximate_age_of_oldest_message(period=cdk.Duration.minutes(1), statistic="Maximum")


def errors(function: cdk.aws_lambda.IFunction) -> cloudwatch.Metric:
    """Invocations of `function` that raised, a minute."""
    return function.metric_errors(period=cdk.Duration.minutes(1), statistic="Sum")
