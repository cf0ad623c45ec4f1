"""What the stacks tell about themselves: by stack, the output key of all that is looked up.

A CloudFormation stack is named `treeline-<stage>-<part>`, with the parts below. A further profile has stacks of its
own, `treeline-<stage>-<part>-<profile>`, with the same output keys; it shares the alerting stack.
"""

from collections.abc import Iterable

STATE = "state"
ALERTING = "alerting"
DETECTION = "detection"
INGESTION = "ingestion"
LEARNING = "learning"
OBSERVABILITY = "observability"
PARTS = (STATE, ALERTING, DETECTION, INGESTION, LEARNING, OBSERVABILITY)  # in the order of deployment
OF_PROFILE = tuple(part for part in PARTS if part != ALERTING)  # what a further profile has of its own

# state
OBSERVATIONS_TABLE = "ObservationsTable"
SERVERS_TABLE = "ServersTable"
DETECTOR_STATE_TABLE = "DetectorStateTable"
SCORES_TABLE = "ScoresTable"
INCIDENTS_TABLE = "IncidentsTable"
ROLLUPS_TABLE = "RollupsTable"
CONTROLS_TABLE = "ControlsTable"
PAGES_TABLE = "PagesTable"
QUARANTINE_BUCKET = "QuarantineBucket"
MODELS_BUCKET = "ModelsBucket"

# alerting; the last five only with pagerduty.enabled
ALERTS_TOPIC_ARN = "AlertsTopicArn"
OPERATIONS_TOPIC_ARN = "OperationsTopicArn"
PAGES_QUEUE_URL = "PagesQueueUrl"
PAGES_DEAD_QUEUE_URL = "PagesDeadQueueUrl"  # given up by notify_pagerduty
PAGES_UNDELIVERED_QUEUE_URL = "PagesUndeliveredQueueUrl"  # SNS could not put them into pages
NOTIFY_PAGERDUTY_FUNCTION = "NotifyPagerDutyFunction"
ROUTING_KEY_SECRET_ARN = "RoutingKeySecretArn"  # noqa: S105 -- an output's name; the secret is put in by its owner

# detection
TICKS_QUEUE_URL = "TicksQueueUrl"
TICKS_DEAD_QUEUE_URL = "TicksDeadQueueUrl"
DISPATCH_FUNCTION = "DispatchFunction"
DETECT_FUNCTION = "DetectFunction"
REPROCESS_FUNCTION = "ReprocessFunction"
ENDPOINT_NAME = "EndpointName"  # expected, owned by no stack

# ingestion
STREAM_NAME = "StreamName"
STREAM_ARN = "StreamArn"
INGEST_FUNCTION = "IngestFunction"
UNREAD_BATCHES_QUEUE_URL = "UnreadBatchesQueueUrl"  # shard and sequence numbers of batches that ingest gave up

# learning
PIPELINE_NAME = "PipelineName"
MODEL_GROUP = "ModelGroup"
TRAINING_BUCKET = "TrainingBucket"
EVENTS_DEAD_QUEUE_URL = "EventsDeadQueueUrl"  # approvals, ended runs and schedules that no function took
HISTORY_QUEUE_ARN = "HistoryQueueArn"  # the two only with learning.history_days
HISTORY_JOB_ARN = "HistoryJobArn"
CHANGES_TOPIC_ARN = "ChangesTopicArn"
PROMOTION_ARN = "PromotionArn"
APPROVAL_FUNCTION = "ApprovalFunction"
PROMOTION_FUNCTION = "PromotionFunction"
ROLLUP_FUNCTION = "RollupFunction"
DRIFT_FUNCTION = "DriftFunction"

# observability: names of dashboards
FLEET_DASHBOARD = "FleetDashboardName"
DETECTION_DASHBOARD = "DetectionDashboardName"
MODEL_DASHBOARD = "ModelDashboardName"
COST_DASHBOARD = "CostDashboardName"


def part_of(part: str, profile: str = "") -> str:
    """A part as stacks name it: that of the servers' profile, or of the further profile named."""
    return f"{part}-{profile}" if profile else part


def all_parts(profiles: Iterable[str]) -> list[str]:
    """The parts of a stage with these further profiles, in the order of deployment."""
    return [*PARTS, *(part_of(part, profile) for profile in profiles for part in OF_PROFILE)]


def stack_name(stage: str, part: str, profile: str = "") -> str:
    """CloudFormation name of one of `PARTS`, or of a further profile's."""
    return f"treeline-{stage}-{part_of(part, profile)}"
