"""The dashboard of cost and usage."""

from aws_cdk import aws_cloudwatch as cloudwatch

from stacks.constructs.own_metrics import search
from stacks.constructs.widgets import WIDTH, graph, number, service_metric, text
from stacks.dashboards.sources import Rows, Sources, function_metric
from treeline.app.metrics import OwnMetric


def cost_rows(s: Sources) -> Rows:
    """What does it use? `treeline cost` prices it."""
    functions = sorted(s.functions.items())
    tables = sorted(s.tables.items())
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
            graph(
                "Stream, records",
                [service_metric("AWS/Kinesis", "IncomingRecords", {"StreamName": s.stream}, label="records")],
            ),
            graph(
                "Stream, bytes",
                [service_metric("AWS/Kinesis", "IncomingBytes", {"StreamName": s.stream}, label="bytes")],
            ),
            graph("Endpoint's processor", [_endpoint(s, "CPUUtilization")], unit="%"),
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
    return search(
        f'{{/aws/sagemaker/Endpoints,EndpointName,VariantName}} MetricName="{name}" EndpointName="{s.endpoint}"',
        "Average",
    )
