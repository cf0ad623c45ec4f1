"""Every number that the functions write to CloudWatch, declared once.

Functions write by these names, dashboards draw and alarms watch by them (stacks/): a name that is only on one side
cannot be written, and a metric that nobody writes or nobody shows fails a test.
"""

from enum import Enum, StrEnum, unique

NAMESPACE = "Treeline"


class Unit(StrEnum):
    """CloudWatch's units, those that we use."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    NONE = "None"


@unique
class OwnMetric(Enum):
    """One metric; the member's name is its name in CloudWatch, so that it is found by searching for either."""

    def __init__(self, functions: str, meaning: str, unit: Unit = Unit.COUNT, by: str = "") -> None:
        self.functions = tuple(functions.split())  # those that write it, its dimension `service`; empty: all do
        self.meaning = meaning  # of one invocation
        self.unit = unit
        self.by = by  # the dimension by which it is written a second time; empty: by none

    InvocationsFailed = "", "invocations that raised"

    RecordsReceived = "ingest", "stream records that are done"
    RecordsToRetry = "ingest", "stream records that come again, as a write failed"
    RecordsQuarantined = "ingest", "observations set aside as bad", Unit.COUNT, "reason"
    ValuesSetAside = "ingest", "bad values of observations that are stored without them", Unit.COUNT, "reason"
    ObservationsReceived = "ingest", "observations, good or bad: a record may hold several"
    ObservationsStored = "ingest", "observations written to the table"
    ObservationsRepeated = "ingest", "observations that came twice in their batch"
    ServersRegistered = "ingest", "servers seen for the first time"
    TicksSent = "ingest dispatch", "groups that detect was asked to look at"
    TicksFailed = "ingest dispatch", "ticks that the queue did not take; the next heartbeat makes up for them"

    ServersExpected = "dispatch", "servers registered and not retired", Unit.NONE
    Groups = "dispatch", "groups these servers make"

    ObservationsScored = "detect", "observations that got a severity"
    ObservationsWarmingUp = "detect", "observations of servers that the model is still getting to know"
    ObservationsLate = "detect", "observations scored after a later one of their server"
    ObservationsTooLate = "detect", "observations that came when their server was too far ahead to score them"
    ValuesImputed = "detect", "missing values filled in"
    ObservationsHeldBack = "detect", "observations kept from a tier, as their server had reached as much before"
    Severity = "detect", "severities, a sample of 90 with the lowest and the highest", Unit.NONE
    MaxSeverity = "detect", "the highest severity", Unit.NONE
    FleetCycleLevel = "detect", "the median severity of a group", Unit.NONE
    ServersKnown = "detect", "servers of a group that the detector has a state of and that are not retired"
    ServersWarmingUp = "detect", "those that cannot be decided yet"
    ServersSilent = "detect", "those that send nothing any more"
    NoModel = "detect", "ticks that had no model to score with"
    DetectDuration = "detect", "time spent on one group", Unit.MILLISECONDS
    ScorerUnavailable = "detect", "ticks put back because the endpoint failed or refused"
    StateConflicts = "detect", "commits that another worker was ahead of"
    TickFailures = "detect", "ticks that failed for another reason"
    TableBlocksLost = (
        "detect",
        "blocks of the seasonal table that were missing or damaged; what was learned again of them is in the log",
    )
    CandidateFailures = "detect", "errors of the candidate that decides beside the active model"
    IncidentsOpened = "detect", "incidents opened", Unit.COUNT, "priority"
    IncidentsResolved = "detect", "incidents resolved"
    AlertsPublished = "detect", "alerts published to the topic"
    AlertsQuiet = "detect", "alerts suppressed: stored, and not published", Unit.COUNT, "reason"
    PublishFailures = "detect", "alerts that the topic did not take; they wait in the outbox"
    ObservedToReceived = "detect", "of an alert: from the observation to its receipt", Unit.MILLISECONDS
    ReceivedToScored = "detect", "of an alert: from receipt to decision", Unit.MILLISECONDS
    ScoredToPublished = "detect", "of an alert: from decision to topic", Unit.MILLISECONDS
    ReceivedToPublished = "detect", "of an alert that no mute delayed: from receipt to topic", Unit.MILLISECONDS

    DeadTicksReceived = "reprocess", "ticks taken from the dead-letter queue"
    TicksRedriven = "reprocess", "ticks sent back to work"
    DeadTicksLeft = "reprocess", "dead ticks left to the next run"
    DeadTicksMalformed = "reprocess", "dead messages that are no tick; they stay"

    AlertsReceived = "notify_pagerduty", "alerts taken from the queue"
    PagesDelivered = "notify_pagerduty", "events that PagerDuty took"
    PagesRefused = "notify_pagerduty", "events that PagerDuty will never take"
    PagesWaiting = "notify_pagerduty", "alerts put back for later"
    PagesIgnored = "notify_pagerduty", "alerts that page nobody"
    PagesSuperseded = "notify_pagerduty", "alerts delivered before, or overtaken by a later one"
    PagesFailed = "notify_pagerduty", "attempts that failed, whatever becomes of them", Unit.COUNT, "reason"

    HoursRolledUp = "rollup", "hours summed up"
    ScoresRolledUp = "rollup", "scores in them"
    ScoreDrift = "drift", "how far scores have moved, in the model's standard deviations", Unit.NONE
    LevelDrift = "drift", "how far the metrics' levels have moved, in standard deviations", Unit.NONE
    LargestFeatureDrift = "drift", "population stability index of the feature that moved most", Unit.NONE
    DriftBreaches = "drift", "daily evaluations in a row above the limit"
    RetrainingsStarted = "drift", "trainings that drift asked for"
    RetrainingsBlocked = "drift", "trainings that a maintenance window kept from starting"

    TrainingRunsSucceeded = "training_ended", "training runs that ended well"
    TrainingRunsFailed = "training_ended", "training runs that failed"
    CandidatesAdmitted = "admit", "models whose artifacts passed the gate"
    PromotionsStarted = "approval", "promotions started for an approved model"
    ModelsPromoted = "promotion", "models that became the active one"
    PromotionsRolledBack = "promotion", "promotions that were taken back"
    ChangesNotTold = "drift promotion", "changes of models that could not be told"
