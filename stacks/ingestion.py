"""Ingestion: the stream of observations and the function that stores them."""

import aws_cdk as cdk
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.constructs.operations_alarm import OperationsAlarm, errors, queue_depth
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue
from stacks.state import StateStack
from stacks.treeline_stack import StackOnState
from treeline.settings import outputs
from treeline.settings.pipeline import IngestSettings

QUARANTINE_PREFIX = "quarantine/"
ITERATOR_AGE_LIMIT_MS = 60_000


class IngestionStack(StackOnState):
    """Records come in here; what ingest cannot finish with is set aside and never blocks its shard."""

    def __init__(self, scope: Construct, *, state: StateStack, ticks: sqs.IQueue, operations: sns.ITopic) -> None:
        super().__init__(scope, outputs.INGESTION, holds="stream of observations", state=state)
        config = state.config
        self.operations = operations
        self.stream = kinesis.Stream(
            self,
            "Observations",
            shard_count=config.stream.shards,
            retention_period=cdk.Duration.hours(config.stream.retention_h),
            encryption=kinesis.StreamEncryption.KMS if self.protection.key else kinesis.StreamEncryption.MANAGED,
            encryption_key=self.protection.key,
            removal_policy=self.removal_policy,
        )
        self.unread_batches = DeadLetterQueue(self, "UnreadBatches")
        self.ingest = PythonFunction(
            self,
            "Ingest",
            name="ingest",
            description="Stores observations, sets bad records aside, asks for ticks",
            settings=[
                IngestSettings.of(
                    config.records,
                    config,
                    stage=config.deployment,
                    observations_table=state.observations.table_name,
                    servers_table=state.servers.table_name,
                    quarantine_bucket=state.quarantine.bucket_name,
                    tick_queue_url=ticks.queue_url,
                )
            ],
        )
        self.ingest.allow(["dynamodb:BatchWriteItem"], [state.observations.table_arn])
        self.ingest.allow(
            ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
            [state.servers.table_arn],  # a transaction needs the permissions of what it holds, no more
        )
        self.ingest.allow(["s3:PutObject"], [state.quarantine.arn_for_objects(f"{QUARANTINE_PREFIX}*")])
        self.ingest.allow(["sqs:SendMessage"], [ticks.queue_arn])
        self._read_stream()

        self.tell(outputs.STREAM_NAME, self.stream.stream_name, "Put observations here, partition key server_id")
        self.tell(outputs.STREAM_ARN, self.stream.stream_arn, "ARN of the stream, for producers' policies")
        self.tell(outputs.INGEST_FUNCTION, self.ingest.function.function_name, "Function ingest")
        self.tell(outputs.UNREAD_BATCHES_QUEUE_URL, self.unread_batches.queue_url, "Batches that ingest gave up")
        self._alarms()

    def _read_stream(self) -> None:
        config = self.config.stream
        self.ingest.allow(
            [
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ],
            [self.stream.stream_arn],
        )
        self.ingest.allow(["sqs:SendMessage"], [self.unread_batches.queue_arn])
        mapping = lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=self.ingest.function,
            event_source_arn=self.stream.stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,  # what came before counts
            batch_size=config.batch_size,
            max_batching_window=cdk.Duration.seconds(config.batching_window_s) if config.batching_window_s else None,
            parallelization_factor=config.parallelization_factor,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=config.retry_attempts,
            max_record_age=cdk.Duration.seconds(config.max_record_age_s),
        )
        resource = mapping.node.default_child
        assert isinstance(resource, lambda_.CfnEventSourceMapping)  # noqa: S101 -- narrows what CDK types too widely
        # CDK's SqsDlq would grant more than sending.
        resource.destination_config = lambda_.CfnEventSourceMapping.DestinationConfigProperty(
            on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=self.unread_batches.queue_arn)
        )

    def _alarms(self) -> None:
        OperationsAlarm(
            self,
            "IngestBehind",
            "Does ingest lag behind the stream by more than a minute?",
            self.ingest.function.metric("IteratorAge", period=cdk.Duration.minutes(1), statistic="Maximum"),
            threshold=ITERATOR_AGE_LIMIT_MS,
            datapoints=3,
            periods=5,
        )
        OperationsAlarm(
            self,
            "IngestErrors",
            "Does ingest raise, in more than a passing way?",
            errors(self.ingest.function),
            datapoints=3,
            periods=5,
        )
        OperationsAlarm(
            self,
            "UnreadBatchesNotEmpty",
            "Are there records in the stream that ingest gave up?",
            queue_depth(self.unread_batches),
        )
