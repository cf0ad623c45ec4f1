"""The dashboard of the detector's health."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from stacks.constructs.operations_alarm import queue_age_s, queue_depth
from stacks.constructs.own_metrics import own_by
from stacks.constructs.widgets import by_variant, graph
from stacks.dashboards.sources import Rows, Sources, alarms, function_metric
from treeline.app.metrics import OwnMetric


# long: a list of widgets in the order in which they are drawn
def detection_rows(s: Sources) -> Rows:
    """Is the detector well?"""
    milliseconds = "ms"
    functions = sorted(s.functions.items())
    queues = sorted(s.work_queues.items())
    dead = sorted(s.dead_letters.items())
    ingest = s.functions["Ingest"]
    rows: Rows = [
        [alarms("Alarms about the detector", s.detector_alarms)],
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
                [s.own(OwnMetric.DetectDuration, stat, stat) for stat in ("p50", "p99")],
                unit=milliseconds,
            ),
            graph(
                "Clocks of alerts, p50",
                [
                    s.own(OwnMetric.ObservedToReceived, "p50", "observed to received"),
                    s.own(OwnMetric.ReceivedToScored, "p50", "received to scored"),
                    s.own(OwnMetric.ScoredToPublished, "p50", "scored to published"),
                ],
                unit=milliseconds,
            ),
            graph(
                "Received to published",
                [s.own(OwnMetric.ReceivedToPublished, stat, stat) for stat in ("p50", "p99")],
                unit=milliseconds,
            ),
        ],
        [
            *(_endpoint(s) if s.endpoint else []),
            s.counts(
                "Detect could not",
                OwnMetric.ScorerUnavailable,
                OwnMetric.TickFailures,
                OwnMetric.StateConflicts,
                OwnMetric.PublishFailures,
                OwnMetric.CandidateFailures,
                OwnMetric.TableBlocksLost,
            ),
        ],
        [
            graph(
                "Quarantine by reason",
                [own_by(each, stage=s.stage) for each in (OwnMetric.RecordsQuarantined, OwnMetric.ValuesSetAside)],
                stacked=True,
            ),
            graph("Failed pages by reason", [own_by(OwnMetric.PagesFailed, stage=s.stage)], stacked=True),
            graph("What logs say", [metric for _, metric in sorted(s.log_metrics.items())]),
        ],
        [
            s.counts(
                "Records of the stream",
                OwnMetric.RecordsReceived,
                OwnMetric.RecordsToRetry,
                OwnMetric.RecordsQuarantined,
                OwnMetric.ServersRegistered,
            ),
            s.counts(
                "Observations received",
                OwnMetric.ObservationsReceived,
                OwnMetric.ObservationsRepeated,
                OwnMetric.ObservationsTooLate,
            ),
            graph(
                "Ticks",
                [
                    s.own(OwnMetric.Groups, "Maximum", "groups"),
                    s.own(OwnMetric.TicksSent, label="sent by ingest", function="ingest"),
                    s.own(OwnMetric.TicksSent, label="sent by dispatch", function="dispatch"),
                    s.own(OwnMetric.TicksFailed, label="not sent by ingest", function="ingest"),
                    s.own(OwnMetric.TicksFailed, label="not sent by dispatch", function="dispatch"),
                ],
            ),
        ],
        [
            s.counts(
                "Dead ticks",
                OwnMetric.DeadTicksReceived,
                OwnMetric.TicksRedriven,
                OwnMetric.DeadTicksLeft,
                OwnMetric.DeadTicksMalformed,
            ),
            s.counts("Alerts", OwnMetric.AlertsPublished, OwnMetric.AlertsQuiet, OwnMetric.AlertsReceived),
            s.counts(
                "Pages",
                OwnMetric.PagesDelivered,
                OwnMetric.PagesWaiting,
                OwnMetric.PagesRefused,
                OwnMetric.PagesFailed,
                OwnMetric.PagesIgnored,
                OwnMetric.PagesSuperseded,
            ),
        ],
        [
            graph("Alerts told nobody, by reason", [own_by(OwnMetric.AlertsQuiet, stage=s.stage)], stacked=True),
            graph("Invocations that raised", [own_by(OwnMetric.InvocationsFailed, stage=s.stage)], stacked=True),
        ],
        [
            graph("Errors", [function_metric(f, "Errors", id_) for id_, f in functions], width=12),
            graph("Throttles", [function_metric(f, "Throttles", id_) for id_, f in functions], width=12),
        ],
    ]
    return rows


def _endpoint(s: Sources) -> list[cloudwatch.IWidget]:
    return [
        graph(
            "Endpoint latency by variant", [by_variant("ModelLatency", endpoint=s.endpoint, statistic="p99")], unit="us"
        ),
        graph(
            "Endpoint errors by variant",
            [
                by_variant(name, endpoint=s.endpoint, statistic="Sum")
                for name in ("Invocation5XXErrors", "Invocation4XXErrors")
            ],
        ),
    ]
