"""Alarms that look at the whole, and the one that says that the detector itself is unwell."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.config.stage import StageConfig
from stacks.constructs.operations_alarm import RUNBOOK_FOLDER, OperationsAlarm, runbook_of, tell_operations
from stacks.constructs.own_metrics import own
from stacks.constructs.python_function import PythonFunction
from treeline.app.metrics import NAMESPACE, OwnMetric

ANOMALIES_LIMIT = 5  # starting within ANOMALIES_WINDOW
ANOMALIES_WINDOW = cdk.Duration.minutes(15)
QUARANTINE_LIMIT = 100  # records, or single values, a minute
ERROR_LINES_LIMIT = 10  # a minute, all functions together


class FleetAlarms(Construct):
    """Questions about the fleet and about detection as a whole; each has a runbook page."""

    # long: a list of alarms, one question each
    def __init__(self, scope: Construct, id_: str, *, config: StageConfig, stream: str) -> None:
        super().__init__(scope, id_)
        stage = config.deployment
        self.about_fleet = [
            OperationsAlarm(
                self,
                "ManyAnomalies",
                f"Did more than {ANOMALIES_LIMIT} anomalies start within 15 minutes?",
                own(OwnMetric.IncidentsOpened, stage=stage).with_(period=ANOMALIES_WINDOW),
                threshold=ANOMALIES_LIMIT,
            ).alarm,
            OperationsAlarm(
                self,
                "ServersSilent",
                "Is there a server that sends nothing any more?",
                own(OwnMetric.ServersSilent, stage=stage, statistic="Maximum"),
                datapoints=3,
                periods=5,
            ).alarm,
            OperationsAlarm(
                self,
                "QuarantineSurge",
                f"Are more than {QUARANTINE_LIMIT} records a minute set aside as bad?",
                own(OwnMetric.RecordsQuarantined, stage=stage),
                threshold=QUARANTINE_LIMIT,
                datapoints=3,
                periods=5,
            ).alarm,
            OperationsAlarm(
                self,
                "ValuesSetAside",
                f"Are more than {QUARANTINE_LIMIT} values a minute set aside as bad, the rest of their records stored?",
                own(OwnMetric.ValuesSetAside, stage=stage),
                runbook="quarantine-surge",
                threshold=QUARANTINE_LIMIT,
                datapoints=3,
                periods=5,
            ).alarm,
        ]
        self.about_detector = [
            OperationsAlarm(
                self,
                "ScorerUnavailable",
                "Can the model's forest not be read?"
                if config.is_embedded
                else "Does the model endpoint fail or refuse?",
                own(OwnMetric.ScorerUnavailable, stage=stage),
                datapoints=3,
                periods=5,
            ).alarm,
            OperationsAlarm(
                self,
                "NoModel",
                "Is there no model, so that observations wait?",
                own(OwnMetric.NoModel, stage=stage, statistic="Maximum"),
                datapoints=3,
                periods=3,
            ).alarm,
            OperationsAlarm(
                self,
                "StreamThrottled",
                "Does the stream refuse records because it has too few shards?",
                cloudwatch.Metric(
                    namespace="AWS/Kinesis",
                    metric_name="WriteProvisionedThroughputExceeded",
                    dimensions_map={"StreamName": stream},
                    period=cdk.Duration.minutes(1),
                    statistic="Sum",
                ),
                datapoints=2,
                periods=5,
            ).alarm,
        ]
        if config.ticks.heartbeat:
            minutes = -(-(config.step_s or 60) // 60)  # what senders send within a period is scored within it
            self.about_detector.append(
                OperationsAlarm(
                    self,
                    "NoScores",
                    f"Has nothing been scored for {'three' if minutes == 1 else 3 * minutes} minutes?",
                    own(OwnMetric.ObservationsScored, stage=stage).with_(period=cdk.Duration.minutes(minutes)),
                    is_absence=True,
                    datapoints=3,
                    periods=3,
                ).alarm
            )
        if config.pagerduty.enabled and not config.further:  # the pages of all profiles
            self.about_detector.append(
                OperationsAlarm(
                    self,
                    "PagesFailing",
                    "Do pages fail, whatever the reason, in more than a passing way?",
                    own(OwnMetric.PagesFailed, stage=stage),
                    datapoints=3,
                    periods=5,
                ).alarm
            )


class LogAlarms(Construct):
    """Alarms on log lines: errors that a function caught and logged, and invocations that ran out of time."""

    def __init__(self, scope: Construct, id_: str, *, config: StageConfig, functions: Sequence[PythonFunction]) -> None:
        super().__init__(scope, id_)
        # A metric filter's metric has no dimensions here, so the namespace names the stage.
        namespace = f"{NAMESPACE}/{config.deployment}"
        self.metrics: dict[str, cloudwatch.Metric] = {}
        for name, pattern in (
            ("ErrorLines", logs.FilterPattern.string_value("$.level", "=", "ERROR")),
            ("Timeouts", logs.FilterPattern.literal('"Task timed out"')),
        ):
            for function in functions:
                logs.MetricFilter(
                    self,
                    f"{name}{function.node.id}",
                    log_group=function.log_group,
                    filter_pattern=pattern,
                    metric_namespace=namespace,
                    metric_name=name,
                    metric_value="1",
                )
            self.metrics[name] = cloudwatch.Metric(
                namespace=namespace,
                metric_name=name,
                period=cdk.Duration.minutes(1),
                statistic="Sum",  # no label: an alarm on a metric with one becomes metric math
            )
        self.alarms = [
            OperationsAlarm(
                self,
                "ErrorLines",
                f"Do functions log more than {ERROR_LINES_LIMIT} errors a minute?",
                self.metrics["ErrorLines"],
                threshold=ERROR_LINES_LIMIT,
                datapoints=3,
                periods=5,
            ).alarm,
            OperationsAlarm(
                self,
                "FunctionTimeouts",
                "Do functions run out of time, in more than a passing way?",
                self.metrics["Timeouts"],
                datapoints=2,
                periods=5,
            ).alarm,
        ]


class DetectorUnwell(Construct):
    """One alarm over all that say that Treeline itself has a problem; never over what it says of servers."""

    def __init__(self, scope: Construct, id_: str, *, alarms: Sequence[cloudwatch.IAlarm]) -> None:
        super().__init__(scope, id_)
        self.alarm = cloudwatch.CompositeAlarm(
            self,
            "Alarm",
            alarm_description=(
                f"Is the detector itself unwell? Runbook: {RUNBOOK_FOLDER}/{runbook_of('DetectorUnwell')}.md"
            ),
            alarm_rule=cloudwatch.AlarmRule.any_of(
                *[cloudwatch.AlarmRule.from_alarm(alarm, cloudwatch.AlarmState.ALARM) for alarm in alarms]
            ),
        )
        tell_operations(self, self.alarm)
