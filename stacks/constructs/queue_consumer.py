"""The mapping from a queue to the function that works through it."""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.constructs.python_function import PythonFunction


class QueueConsumer(Construct):
    """Invokes `consumer` with messages of `queue`; a failed message comes back alone, the others are done."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        queue: sqs.IQueue,
        consumer: PythonFunction,
        batch_size: int,
        batching_window_s: int = 0,
        max_concurrency: int | None = None,
    ) -> None:
        super().__init__(scope, id_)
        consumer.allow(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            [queue.queue_arn],
        )
        lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=consumer.function,
            event_source_arn=queue.queue_arn,
            batch_size=batch_size,
            max_batching_window=cdk.Duration.seconds(batching_window_s) if batching_window_s else None,
            max_concurrency=max_concurrency,
            report_batch_item_failures=True,
        )
