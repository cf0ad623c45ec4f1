"""Observability: dashboards, what draws them, and the alarms that look at the whole.

It is deployed last and finds what it shows by walking the other stacks: a function, a queue or an alarm that is added
there tomorrow is on a dashboard without a line here.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from constructs import Construct, IConstruct

from stacks.alerting import AlertingStack
from stacks.config.sections import FunctionConfig
from stacks.constructs.alarms import DetectorUnwell, FleetAlarms, LogAlarms
from stacks.constructs.dashboard import RowsDashboard
from stacks.constructs.operations_alarm import OperationsAlarm
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue, WorkQueue
from stacks.constructs.stores import STATE_INDEX
from stacks.dashboards.cost import cost_rows
from stacks.dashboards.detection import detection_rows
from stacks.dashboards.fleet import fleet_rows
from stacks.dashboards.model import model_rows
from stacks.dashboards.sources import Sources
from stacks.ingestion import IngestionStack
from stacks.state import StateStack
from stacks.treeline_stack import StackOnState
from treeline.settings import outputs
from treeline.settings.environment import EnvSettings
from treeline.settings.widgets import WidgetFleetSettings, WidgetIncidentsSettings, WidgetModelSettings

WIDGET_SIZE = FunctionConfig(timeout_s=10, memory_mb=512)
# What these say is about servers or about training, not about the detector's health.
NOT_ABOUT_THE_DETECTOR = frozenset({"TrainingFailed"})
_C = TypeVar("_C")


class ObservabilityStack(StackOnState):
    """Four dashboards, three drawing functions, alarms on the whole, one over all."""

    # long: the names and types of what it takes are a third; the rest is four dashboards
    def __init__(
        self, scope: Construct, *, state: StateStack, alerting: AlertingStack, ingestion: IngestionStack
    ) -> None:
        super().__init__(scope, outputs.OBSERVABILITY, holds="dashboards and alarms on the whole", state=state)
        config = state.config
        self.operations = alerting.operations
        watched = [
            s for s in scope.node.children if isinstance(s, StackOnState) and s.config is config and s is not self
        ]
        functions = list(_found(watched, PythonFunction))
        fleet = self._fleet_widget(state)
        incidents = self._incidents_widget(state)
        model = self._model_widget(state)

        self.fleet_alarms = FleetAlarms(self, "Fleet", config=config, stream=ingestion.stream.stream_name)
        self.log_alarms = LogAlarms(self, "Logs", config=config, functions=[*functions, fleet, incidents, model])
        theirs = list(_found(watched, OperationsAlarm))
        of_detector = [a.alarm for a in theirs if a.node.id not in NOT_ABOUT_THE_DETECTOR]
        of_detector += [*self.fleet_alarms.about_detector, *self.log_alarms.alarms]
        self.unwell = DetectorUnwell(self, "DetectorUnwell", alarms=of_detector)

        about_others = [a.alarm for a in theirs if a.node.id in NOT_ABOUT_THE_DETECTOR]
        sources = Sources(
            stage=config.deployment,
            endpoint=config.endpoint_name,
            functions={f.node.id: f.function for f in functions},
            work_queues={q.node.id: q for q in _found(watched, WorkQueue)},
            dead_letters={q.node.id: q for q in _found(watched, DeadLetterQueue)},
            stream=ingestion.stream.stream_name,
            tables={
                t.node.id: t.table_name
                for t in (state.observations, state.servers, state.detector_state, state.scores, state.incidents)
            },
            fleet_widget=fleet.arn,
            incidents_widget=incidents.arn,
            model_widget=model.arn,
            fleet_alarms=[*self.fleet_alarms.about_fleet, *about_others],
            detector_alarms=[self.unwell.alarm, *of_detector],
            log_metrics=self.log_alarms.metrics,
        )
        for key, id_, rows in (
            (outputs.FLEET_DASHBOARD, "FleetDashboard", fleet_rows(sources)),
            (outputs.DETECTION_DASHBOARD, "DetectionDashboard", detection_rows(sources)),
            (outputs.MODEL_DASHBOARD, "ModelDashboard", model_rows(sources)),
            (outputs.COST_DASHBOARD, "CostDashboard", cost_rows(sources)),
        ):
            dashboard = RowsDashboard(self, id_, rows=rows)
            self.tell(key, dashboard.name, f"CloudWatch dashboard {id_.removesuffix('Dashboard').lower()}")

    def _fleet_widget(self, state: StateStack) -> PythonFunction:
        widget = self._widget(
            "WidgetFleet",
            "widget_fleet",
            "Draws the fleet, one cell a server",
            WidgetFleetSettings.of(
                self.config.detection,
                self.config,
                stage=self.config.deployment,
                servers_table=state.servers.table_name,
                state_table=state.detector_state.table_name,
                controls_table=state.controls.table_name,
            ),
            packages=["numpy"],
        )
        widget.allow(["dynamodb:GetItem"], [state.servers.table_arn, state.detector_state.table_arn])
        widget.allow(["dynamodb:Query"], [state.controls.table_arn, state.detector_state.table_arn])
        return widget

    def _incidents_widget(self, state: StateStack) -> PythonFunction:
        widget = self._widget(
            "WidgetIncidents",
            "widget_incidents",
            "Lists open incidents with their evidence",
            WidgetIncidentsSettings(stage=self.config.deployment, incidents_table=state.incidents.table_name),
        )
        widget.allow(["dynamodb:Query"], [f"{state.incidents.table_arn}/index/{STATE_INDEX}"])
        return widget

    def _model_widget(self, state: StateStack) -> PythonFunction:
        widget = self._widget(
            "WidgetModel",
            "widget_model",
            "Shows the models that decide",
            WidgetModelSettings(stage=self.config.deployment, controls_table=state.controls.table_name),
        )
        widget.allow(["dynamodb:Query"], [state.controls.table_arn])
        return widget

    def _widget(
        self, id_: str, name: str, description: str, settings: EnvSettings, *, packages: Sequence[str] = ()
    ) -> PythonFunction:
        return PythonFunction(
            self, id_, name=name, description=description, settings=[settings], packages=packages, size=WIDGET_SIZE
        )


def _found(stacks: Sequence[IConstruct], kind: type[_C]) -> Iterator[_C]:
    """Constructs of a kind below the stacks, in the order of their paths: the same every time."""
    for stack in stacks:
        yield from (c for c in sorted(stack.node.find_all(), key=lambda c: c.node.path) if isinstance(c, kind))
