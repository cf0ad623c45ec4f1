"""The tables and the bucket that constructs are given, as `stacks.state.StateStack` has them."""

from typing import Protocol

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3

STATE_INDEX = "by-state"


class Stores(Protocol):
    """What the learning side reads and writes."""

    servers: dynamodb.TableV2
    detector_state: dynamodb.TableV2
    scores: dynamodb.TableV2
    incidents: dynamodb.TableV2
    rollups: dynamodb.TableV2
    controls: dynamodb.TableV2
    models: s3.Bucket
