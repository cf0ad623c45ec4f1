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
    mutes: dynamodb.TableV2  # `controls`, or for a further profile the servers'
    models: s3.Bucket


def arns_of_controls(state: Stores) -> list[str]:
    """Of the table of controls, and of the one with mutes and maintenance windows where that is another."""
    return list(dict.fromkeys(table.table_arn for table in (state.controls, state.mutes)))


def resource_names(state: Stores) -> dict[str, str | None]:
    """The tables and the bucket by the fields of functions' settings."""
    return {
        "servers_table": state.servers.table_name,
        "state_table": state.detector_state.table_name,
        "scores_table": state.scores.table_name,
        "incidents_table": state.incidents.table_name,
        "controls_table": state.controls.table_name,
        "mutes_table": None if state.mutes is state.controls else state.mutes.table_name,
        "rollups_table": state.rollups.table_name,
        "models_bucket": state.models.bucket_name,
    }
