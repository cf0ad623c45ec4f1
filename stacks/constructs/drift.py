"""Roll-ups every hour, the drift check every day, and the retraining that may follow from it."""

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.config.stage import StageConfig
from stacks.constructs.model_function import ModelFunction, allow_telling, change_settings
from stacks.constructs.operations_alarm import OperationsAlarm, errors
from stacks.constructs.own_metrics import own
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue
from stacks.constructs.rule_target import invoke
from stacks.constructs.stores import Stores
from treeline.app.metrics import OwnMetric
from treeline.settings.promotion import DriftSettings


class DriftWatch(Construct):
    """Measures how far the fleet has left the active model."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        config: StageConfig,
        state: Stores,
        changes: sns.ITopic,
        pipeline_name: str,
        pipeline_arn: str,
        events_dead: DeadLetterQueue,
        routing_key: secretsmanager.ISecret | None = None,
    ) -> None:
        super().__init__(scope, id_)
        self._config = config
        self._events_dead = events_dead
        self.rollup = ModelFunction(
            self,
            "Rollup",
            name="rollup",
            description="Every hour: sums up the hours of scores that are over",
            state=state,
        )
        self.rollup.allow_history(state)
        self.rollup.allow(["dynamodb:GetItem", "dynamodb:PutItem"], [state.rollups.table_arn])
        self.rollup.allow(["dynamodb:PutItem"], [state.controls.table_arn])
        self.drift = ModelFunction(
            self,
            "Drift",
            name="drift",
            description="Every day: has the fleet left the model?",
            settings=[
                DriftSettings.of(config.drift, stage=config.deployment, pipeline_name=pipeline_name),
                change_settings(config, changes, routing_key),
            ],
            state=state,
        )
        allow_telling(self.drift, changes, routing_key)
        self.drift.allow(["dynamodb:Query"], [state.rollups.table_arn])
        self.drift.allow(["dynamodb:PutItem", "dynamodb:DeleteItem"], [state.controls.table_arn])
        self.drift.allow(["sagemaker:ListPipelineExecutions", "sagemaker:StartPipelineExecution"], [pipeline_arn])
        self.drift.allow(["sagemaker:StopPipelineExecution"], [f"{pipeline_arn}/execution/*"])
        if state.mutes is not state.controls:  # maintenance windows
            for function in (self.rollup, self.drift):
                function.allow(["dynamodb:Query"], [state.mutes.table_arn])
        # Five minutes past: what was observed within the hour has been decided by then.
        self._at("Hourly", self.rollup, events.Schedule.cron(minute="5"))
        self._at("Daily", self.drift, events.Schedule.cron(minute="20", hour="0"))
        self._alarms()

    def _at(self, id_: str, target: PythonFunction, schedule: events.Schedule) -> None:
        rule = events.Rule(
            self, id_, description=target.function.node.path, schedule=schedule, enabled=self._config.drift.scheduled
        )
        invoke(rule, target, dead_letters=self._events_dead)

    def _alarms(self) -> None:
        stage = self._config.deployment
        consecutive = self._config.drift.rules.consecutive
        OperationsAlarm(
            self,
            "ModelDrifts",
            f"Has the fleet been away from its model for {consecutive} daily evaluations?",
            own(OwnMetric.DriftBreaches, stage=stage, statistic="Maximum").with_(period=cdk.Duration.days(1)),
            runbook="model-drift",
            threshold=consecutive - 1,
        )
        for id_, function in (("RollupErrors", self.rollup), ("DriftErrors", self.drift)):
            name = id_.removesuffix("Errors").lower()
            OperationsAlarm(
                self,
                id_,
                f"Does {name} raise, so that drift goes unseen?",
                errors(function.function),
                runbook="rollup-or-drift-errors",
            )
