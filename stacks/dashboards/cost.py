"""The dashboard of cost and usage."""

from aws_cdk import aws_cloudwatch as cloudwatch

from stacks.constructs.own_metrics import search
from stacks.constructs.widgets import WIDTH, graph, number, service_metric, text
from stacks.dashboards.sources import Rows, Sources, function_metric
from treeline.app.metrics import OwnMetric


def cost_rows(s: Sources) -> Rows:
    """What does it use? `treeline cost` prices it."""
    functions = sorted(s.functions.items())
    return [
        [text(f"What this stage costs, line by line: `treeline cost --stage {s.stage} --servers 500 --interval 30`")],
        [
            number(
                "Now, a minute",
                [
                    s.own(OwnMetric.ObservationsStored, label="observations"),
                    s.own(OwnMetric.ObservationsScored, label="scored"),
                ],
            ),
            graph("Invocations", [function_metric(f, "Invocations", id_) for id_, f in functions]),
            graph("Time of functions", [function_metric(f, "Duration", id_) for id_, f in functions], unit="ms"),
        ],
        [
            graph("Stream, records", [_stream(s, "IncomingRecords", "records")]),
            graph("Stream, bytes", [_stream(s, "IncomingBytes", "bytes")]),
            *([graph("Endpoint's processor", [_endpoint(s, "CPUUtilization")], unit="%")] if s.endpoint else []),
        ],
        [
            _tables(s, "Write units of tables", "ConsumedWriteCapacityUnits"),
            _tables(s, "Read units of tables", "ConsumedReadCapacityUnits"),
        ],
        [_tables(s, "Writes that tables refused", "WriteThrottleEvents", width=WIDTH)],
    ]


def _stream(s: Sources, name: str, label: str) -> cloudwatch.Metric:
    return service_metric("AWS/Kinesis", name, {"StreamName": s.stream}, label=label)


def _tables(s: Sources, title: str, name: str, *, width: int = WIDTH // 2) -> cloudwatch.GraphWidget:
    tables = sorted(s.tables.items())
    return graph(
        title, [service_metric("AWS/DynamoDB", name, {"TableName": t}, label=id_) for id_, t in tables], width=width
    )


def _endpoint(s: Sources, name: str) -> cloudwatch.MathExpression:
    return search(
        f'{{/aws/sagemaker/Endpoints,EndpointName,VariantName}} MetricName="{name}" EndpointName="{s.endpoint}"',
        "Average",
    )
