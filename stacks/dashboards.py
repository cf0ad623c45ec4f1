"""What stands on the four dashboards: fleet, detection health, model, cost and usage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from stacks.constructs.operations_alarm import queue_age_s, queue_depth
from stacks.constructs.widgets import (
    WIDTH,
    by_variant,
    drawn,
    graph,
    number,
    own,
    own_by,
    service_metric,
    text,
)

Rows = list[list[cloudwatch.IWidget]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the dashboards draw from; constructs by their ids."""

    stage: str
    endpoint: str
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

    def detect(self, name: str, statistic: str = "Sum", label: str | None = None) -> cloudwatch.Metric:
        """A metric of detect."""
        return own(name, service="detect", stage=self.stage, statistic=statistic, label=label)

    def ingest(self, name: str, label: str | None = None) -> cloudwatch.Metric:
        """A count of ingest."""
        return own(name, service="ingest", stage=self.stage, label=label)


def fleet_rows(s: Sources) -> Rows:
    """Is anything wrong with the servers?"""
    return [
        [drawn("Fleet", s.fleet_widget, height=8)],
        [drawn("Open incidents", s.incidents_widget, height=8)],
        [
            graph(
                "Observations",
                [s.ingest("ObservationsStored", "stored"), s.detect("ObservationsScored", label="scored")],
                unit="a minute",
            ),
            graph(
                "Servers, most of any group",
                [
                    own(
                        "ServersExpected",
                        service="dispatch",
                        stage=s.stage,
                        statistic="Maximum",
                        label="expected (fleet)",
                    ),
                    s.detect("ServersWarmingUp", "Maximum", "warming up"),
                    s.detect("ServersSilent", "Maximum", "silent"),
                ],
            ),
            graph(
                "Incidents",
                [s.detect("IncidentsOpened", label="opened"), s.detect("IncidentsResolved", label="resolved")],
            ),
        ],
        [
            graph(
                "Anomalies by priority",
                [own_by("IncidentsOpened", "priority", service="detect", stage=s.stage)],
                stacked=True,
            ),
            graph(
                "Severity of all observations",
                [s.detect("Severity", stat, stat) for stat in ("p50", "p90", "p99", "Maximum")],
                line=1.5,
                line_label="P2",
            ),
            graph(
                "Fleet cycle: median severity of a group",
                [
                    s.detect("FleetCycleLevel", "Average", "average group"),
                    s.detect("FleetCycleLevel", "Maximum", "highest group"),
                ],
            ),
        ],
        [_alarms("Alarms about the fleet", s.fleet_alarms)],
    ]


def detection_rows(s: Sources) -> Rows:
    """Is the detector well?"""
    milliseconds = "ms"
    functions = sorted(s.functions.items())
    queues = sorted(s.work_queues.items())
    dead = sorted(s.dead_letters.items())
    ingest = s.functions["Ingest"]
    rows: Rows = [
        [_alarms("Alarms about the detector", s.detector_alarms)],
        [
            graph(
                "Iterator age of ingest",
                [ingest.metric("IteratorAge", period=cdk.Duration.minutes(1), statistic="Maximum", label="oldest")],
                unit=milliseconds,
                line=60_000,
                line_label="alarm",
            ),
            graph("Age of the oldest message", [queue_age_s(q).with_(label=id_) for id_, q in queues], unit="s"),
            graph("Dead letters", [queue_depth(q).with_(label=id_) for id_, q in dead]),
        ],
        [
            graph(
                "Detect, one group",
                [s.detect("DetectDuration", stat, stat) for stat in ("p50", "p99")],
                unit=milliseconds,
            ),
            graph(
                "Clocks of alerts, p50",
                [
                    s.detect("ObservedToReceived", "p50", "observed to received"),
                    s.detect("ReceivedToScored", "p50", "received to scored"),
                    s.detect("ScoredToPublished", "p50", "scored to published"),
                ],
                unit=milliseconds,
            ),
            graph(
                "Received to published",
                [s.detect("ReceivedToPublished", stat, stat) for stat in ("p50", "p99")],
                unit=milliseconds,
            ),
        ],
        [
            graph(
                "Endpoint latency by variant",
                [by_variant("ModelLatency", endpoint=s.endpoint, statistic="p99")],
                unit="us",
            ),
            graph(
                "Endpoint errors by variant",
                [
                    by_variant(name, endpoint=s.endpoint, statistic="Sum")
                    for name in ("Invocation5XXErrors", "Invocation4XXErrors")
                ],
            ),
            graph(
                "Detect could not",
                [s.detect(n) for n in ("ScorerUnavailable", "TickFailures", "StateConflicts", "PublishFailures")],
            ),
        ],
        [
            graph(
                "Quarantine by reason",
                [own_by("RecordsQuarantined", "reason", service="ingest", stage=s.stage)],
                stacked=True,
            ),
            graph(
                "Failed pages by reason",
                [own_by("PagesFailed", "reason", service="notify_pagerduty", stage=s.stage)],
                stacked=True,
            ),
            graph("What logs say", [metric for _, metric in sorted(s.log_metrics.items())]),
        ],
        [
            graph("Errors", [_of(f, "Errors", id_) for id_, f in functions], width=12),
            graph("Throttles", [_of(f, "Throttles", id_) for id_, f in functions], width=12),
        ],
    ]
    return rows


def model_rows(s: Sources) -> Rows:
    """Which model decides, and does it still fit?"""
    return [
        [drawn("Models that decide", s.model_widget, height=6)],
        [
            graph(
                "Scored, warming up, late",
                [s.detect(n) for n in ("ObservationsScored", "ObservationsWarmingUp", "ObservationsLate")],
            ),
            graph("Missing values filled in", [s.detect("ValuesImputed", label="imputed")]),
            graph("No model", [s.detect("NoModel", "Maximum", "ticks without a model")]),
        ],
        [
            graph(
                "Drift",
                [
                    own(name, service="drift", stage=s.stage, statistic="Maximum", label=label)
                    for name, label in (("ScoreDrift", "scores, sd"), ("LevelDrift", "metrics' level, sd"))
                ],
                line=1.5,
                line_label="retrain after 3 days above",
            ),
            graph("Invocations by variant", [by_variant("Invocations", endpoint=s.endpoint, statistic="Sum")]),
            graph("Severity, p99 by minute", [s.detect("Severity", "p99", "p99")], line=3.0, line_label="P1"),
        ],
        [
            graph(
                "Training runs",
                [
                    own(n, service="training_ended", stage=s.stage, label=n)
                    for n in ("TrainingRunsSucceeded", "TrainingRunsFailed")
                ],
                width=WIDTH,
            )
        ],
    ]


def cost_rows(s: Sources) -> Rows:
    """What does it use? `treeline cost` prices it."""
    functions = sorted(s.functions.items())
    tables = sorted(s.tables.items())
    return [
        [text(f"What this stage costs, line by line: `treeline cost --stage {s.stage} --servers 500 --interval 30`")],
        [
            number(
                "Now, a minute",
                [s.ingest("ObservationsStored", "observations"), s.detect("ObservationsScored", label="scored")],
            ),
            graph("Invocations", [_of(f, "Invocations", id_) for id_, f in functions]),
            graph("Time of functions", [_of(f, "Duration", id_) for id_, f in functions], unit="ms"),
        ],
        [
            graph(
                "Stream, records",
                [service_metric("AWS/Kinesis", "IncomingRecords", {"StreamName": s.stream}, label="records")],
            ),
            graph(
                "Stream, bytes",
                [service_metric("AWS/Kinesis", "IncomingBytes", {"StreamName": s.stream}, label="bytes")],
            ),
            graph(
                "Endpoint's processor",
                [
                    _endpoint(s, "CPUUtilization"),
                ],
                unit="%",
            ),
        ],
        [
            graph(
                "Write units of tables",
                [
                    service_metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": t}, label=i)
                    for i, t in tables
                ],
                width=12,
            ),
            graph(
                "Read units of tables",
                [
                    service_metric("AWS/DynamoDB", "ConsumedReadCapacityUnits", {"TableName": t}, label=i)
                    for i, t in tables
                ],
                width=12,
            ),
        ],
        [
            graph(
                "Writes that tables refused",
                [service_metric("AWS/DynamoDB", "WriteThrottleEvents", {"TableName": t}, label=i) for i, t in tables],
                width=WIDTH,
            )
        ],
    ]


def _endpoint(s: Sources, name: str) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        expression=(
            "SEARCH('{/aws/sagemaker/Endpoints,EndpointName,VariantName} "
            f'MetricName="{name}" EndpointName="{s.endpoint}"\', \'Average\', 60)'
        ),
        period=cdk.Duration.minutes(1),
        using_metrics={},
        label="",
    )


def _of(function: lambda_.IFunction, name: str, label: str) -> cloudwatch.Metric:
    return function.metric(name, period=cdk.Duration.minutes(1), statistic="Sum", label=label)


def _alarms(title: str, alarms: Sequence[cloudwatch.IAlarm]) -> cloudwatch.AlarmStatusWidget:
    return cloudwatch.AlarmStatusWidget(title=title, alarms=list(alarms), width=WIDTH, height=3 + len(alarms) // 4)
