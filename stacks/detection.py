"""Detection: the queue of ticks, and the functions that send, score and rescue them."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.constructs.operations_alarm import OperationsAlarm, errors, queue_age_s, queue_depth
from stacks.constructs.own_metrics import own
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queue_consumer import QueueConsumer
from stacks.constructs.queues import DeadLetterQueue, WorkQueue
from stacks.constructs.rights import sagemaker_arn
from stacks.constructs.stores import arns_of_controls, resource_names
from stacks.state import GROUP_INDEX, StateStack
from stacks.treeline_stack import StackOnState
from treeline.app.metrics import OwnMetric
from treeline.settings import outputs
from treeline.settings.pipeline import DetectSettings, DispatchSettings, ReprocessSettings


class DetectionStack(StackOnState):
    """`ticks` lives here and ingestion sends to it: references run ingestion -> detection -> alerting."""

    def __init__(self, scope: Construct, *, state: StateStack, alerts: sns.ITopic, operations: sns.ITopic) -> None:
        super().__init__(scope, outputs.DETECTION, holds="ticks and the functions that score them", state=state)
        config = state.config
        self.operations = operations
        self._state = state
        functions = config.functions
        # reprocess reads this queue itself: what it leaves shows again for its next run, not earlier.
        self.ticks_dead = DeadLetterQueue(self, "TicksDead", visibility_s=functions.reprocess.timeout_s + 5)
        self.ticks = WorkQueue(
            self,
            "Ticks",
            visibility_s=config.visibility_s(functions.detect, config.ticks.batching_window_s),
            dead_letters=self.ticks_dead,
            max_receive_count=config.ticks.max_receive_count,
        )
        self.dispatch = self._dispatch()
        self.detect = self._detect(alerts)
        self.reprocess = self._reprocess()
        self._alarms()

        self.tell(outputs.TICKS_QUEUE_URL, self.ticks.queue_url, "Groups to look at")
        self.tell(outputs.TICKS_DEAD_QUEUE_URL, self.ticks_dead.queue_url, "Ticks that wait for the scorer")
        self.tell(outputs.DISPATCH_FUNCTION, self.dispatch.function.function_name, "Function dispatch")
        self.tell(outputs.DETECT_FUNCTION, self.detect.function.function_name, "Function detect")
        self.tell(outputs.REPROCESS_FUNCTION, self.reprocess.function.function_name, "Function reprocess")
        if not config.is_embedded:
            self.tell(outputs.ENDPOINT_NAME, config.endpoint_name, "SageMaker endpoint detect asks; owned by no stack")

    def _dispatch(self) -> PythonFunction:
        config, state = self.config, self._state
        dispatch = PythonFunction(
            self,
            "Dispatch",
            name="dispatch",
            description="Every minute: a tick per group now and one after 30 s",
            settings=[
                DispatchSettings.of(
                    config,
                    stage=config.deployment,
                    servers_table=state.servers.table_name,
                    tick_queue_url=self.ticks.queue_url,
                )
            ],
        )
        dispatch.allow(["dynamodb:GetItem"], [state.servers.table_arn])
        dispatch.allow(["sqs:SendMessage"], [self.ticks.queue_arn])
        self._every_minute("Heartbeat", dispatch, enabled=config.ticks.heartbeat)
        return dispatch

    def _detect(self, alerts: sns.ITopic) -> PythonFunction:
        config, state = self.config, self._state
        detect = PythonFunction(
            self,
            "Detect",
            name="detect",
            description="Scores what is not yet scored of a group, decides, and publishes alerts",
            settings=[
                DetectSettings.of(
                    config.detection,
                    config,
                    stage=config.deployment,
                    observations_table=state.observations.table_name,
                    **resource_names(state),
                    endpoint_name=config.endpoint_name,
                    alerts_topic_arn=alerts.topic_arn,
                    tick_queue_url=self.ticks.queue_url,
                )
            ],
            packages=["numpy", "tzdata"],  # zones of servers: nothing says that the runtime has them
        )
        detect.allow(["dynamodb:Query"], [f"{state.observations.table_arn}/index/{GROUP_INDEX}"])
        detect.allow(
            ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"],
            [state.detector_state.table_arn],
        )
        # Query: were observations that came out of turn scored before, or did they come too late?
        detect.allow(["dynamodb:PutItem", "dynamodb:Query"], [state.scores.table_arn])
        detect.allow(["dynamodb:UpdateItem"], [state.incidents.table_arn])
        detect.allow(["dynamodb:GetItem"], [state.servers.table_arn])  # labels, for alerts and the mutes that name them
        detect.allow(["dynamodb:Query"], arns_of_controls(state))
        detect.allow(["dynamodb:PutItem", "dynamodb:UpdateItem"], [state.rollups.table_arn])  # a candidate's decisions
        detect.allow(["s3:GetObject"], [state.models.arn_for_objects("packages/*")])
        if config.is_embedded:
            detect.allow(["s3:GetObject"], [state.models.arn_for_objects("forests/*")])
        else:
            detect.allow(["sagemaker:InvokeEndpoint"], [self._endpoint_arn()])
        detect.allow(["sns:Publish"], [alerts.topic_arn])
        QueueConsumer(
            self,
            "TicksConsumer",
            queue=self.ticks,
            consumer=detect,
            batch_size=config.ticks.batch_size,
            batching_window_s=config.ticks.batching_window_s,
            max_concurrency=config.ticks.max_concurrency,
        )
        return detect

    def _reprocess(self) -> PythonFunction:
        config = self.config
        reprocess = PythonFunction(
            self,
            "Reprocess",
            name="reprocess",
            description="Every minute: once rows can be scored, sends dead ticks back to work",
            settings=[
                ReprocessSettings.of(
                    config.detection,
                    config,
                    stage=config.deployment,
                    tick_queue_url=self.ticks.queue_url,
                    dead_letter_queue_url=self.ticks_dead.queue_url,
                    endpoint_name=config.endpoint_name,
                )
            ],
        )
        reprocess.allow(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"], [self.ticks_dead.queue_arn]
        )
        reprocess.allow(["sqs:SendMessage"], [self.ticks.queue_arn])
        if not config.is_embedded:
            reprocess.allow(["sagemaker:DescribeEndpoint"], [self._endpoint_arn()])
        self._every_minute("Redrive", reprocess, enabled=True)
        return reprocess

    def _endpoint_arn(self) -> str:
        # SageMaker writes endpoint names in lower case into ARNs.
        return sagemaker_arn(self, "endpoint", self.config.endpoint_name.lower())

    def _every_minute(self, id_: str, target: PythonFunction, *, enabled: bool) -> None:
        """A run that fails or comes late is not repeated: the next one does the same work a minute later."""
        rule = events.Rule(
            self,
            id_,
            description=target.function.node.path,
            schedule=events.Schedule.rate(cdk.Duration.minutes(1)),
            enabled=enabled,
        )
        rule.add_target(
            targets.LambdaFunction(target.function, retry_attempts=0, max_event_age=cdk.Duration.minutes(1))
        )
        target.function.configure_async_invoke(retry_attempts=0, max_event_age=cdk.Duration.minutes(1))

    # long: a list of alarms, one question each
    def _alarms(self) -> None:
        OperationsAlarm(
            self,
            "TicksDeadNotEmpty",
            "Do ticks wait because the endpoint does not answer, or because detect fails on them?",
            queue_depth(self.ticks_dead),
            datapoints=3,
            periods=5,
        )
        OperationsAlarm(
            self,
            "TicksWaiting",
            "Has a tick been waiting for more than three minutes?",
            queue_age_s(self.ticks),
            threshold=180,
            datapoints=3,
            periods=5,
        )
        OperationsAlarm(
            self,
            "AlertsUnpublished",
            "Are there alerts that detect could not publish?",
            own(OwnMetric.PublishFailures, stage=self.config.deployment),
            datapoints=2,
            periods=3,
        )
        OperationsAlarm(
            self,
            "TickFailures",
            "Does detect fail on a group again and again, for a reason that is not the endpoint?",
            own(OwnMetric.TickFailures, stage=self.config.deployment),
            datapoints=2,
            periods=5,
        )
        for name, function in (("Detect", self.detect), ("Dispatch", self.dispatch), ("Reprocess", self.reprocess)):
            OperationsAlarm(
                self,
                f"{name}Errors",
                f"Does {name.lower()} raise, in more than a passing way?",
                errors(function.function),
                datapoints=3,
                periods=5,
            )
        if self.config.ticks.heartbeat:
            OperationsAlarm(
                self,
                "HeartbeatMissing",
                "Has dispatch not run for three minutes?",
                self.dispatch.function.metric_invocations(period=cdk.Duration.minutes(1), statistic="Sum"),
                is_absence=True,
                datapoints=3,
                periods=3,
            )
