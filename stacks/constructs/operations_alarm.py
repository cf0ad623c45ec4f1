"""An alarm on Treeline itself. It answers one operator's question and names its runbook page."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

RUNBOOK_FOLDER = "docs/runbooks"


class OperationsAlarm(Construct):
    """Tells `topic` when `metric` is past `threshold` in `datapoints` of `periods` one-minute periods."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        question: str,
        runbook: str,
        metric: cloudwatch.IMetric,
        topic: sns.ITopic,
        threshold: float = 0,
        datapoints: int = 1,
        periods: int = 1,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        super().__init__(scope, id_)
        self.alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_description=f"{question} Runbook: {RUNBOOK_FOLDER}/{runbook}.md",
            metric=metric,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=periods,
            datapoints_to_alarm=datapoints,
            treat_missing_data=missing,
        )
        self.alarm.add_alarm_action(actions.SnsAction(topic))
        self.alarm.add_ok_action(actions.SnsAction(topic))


def queue_depth(queue: cdk.aws_sqs.IQueue) -> cloudwatch.Metric:
    """Messages that wait in `queue`, most in a minute."""
    return queue.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(1), statistic="Maximum")


def queue_age_s(queue: cdk.aws_sqs.IQueue) -> cloudwatch.Metric:
    """Age of the oldest message of `queue`, seconds."""
    return queue.metric_approximate_age_of_oldest_message(period=cdk.Duration.minutes(1), statistic="Maximum")


def errors(function: cdk.aws_lambda.IFunction) -> cloudwatch.Metric:
    """Invocations of `function` that raised, a minute."""
    return function.metric_errors(period=cdk.Duration.minutes(1), statistic="Sum")
