"""The dashboard of the fleet."""

from stacks.constructs.own_metrics import own_by
from stacks.constructs.widgets import drawn, graph
from stacks.dashboards.sources import Rows, Sources, alarms
from treeline.app.metrics import OwnMetric


def fleet_rows(s: Sources) -> Rows:
    """Is anything wrong with the servers?"""
    return [
        [drawn("Fleet", s.fleet_widget, height=8)],
        [drawn("Open incidents", s.incidents_widget, height=8)],
        [
            graph(
                "Observations",
                [
                    s.own(OwnMetric.ObservationsStored, label="stored"),
                    s.own(OwnMetric.ObservationsScored, label="scored"),
                ],
                unit="a minute",
            ),
            graph(
                "Servers, most of any group",
                [
                    s.own(OwnMetric.ServersExpected, "Maximum", "expected (fleet)"),
                    s.own(OwnMetric.ServersKnown, "Maximum", "known"),
                    s.own(OwnMetric.ServersWarmingUp, "Maximum", "warming up"),
                    s.own(OwnMetric.ServersSilent, "Maximum", "silent"),
                ],
            ),
            graph(
                "Incidents",
                [
                    s.own(OwnMetric.IncidentsOpened, label="opened"),
                    s.own(OwnMetric.IncidentsResolved, label="resolved"),
                ],
            ),
        ],
        [
            graph("Anomalies by priority", [own_by(OwnMetric.IncidentsOpened, stage=s.stage)], stacked=True),
            graph(
                "Severity of all observations",
                [
                    *(s.own(OwnMetric.Severity, stat, stat) for stat in ("p50", "p90", "p99")),
                    s.own(OwnMetric.MaxSeverity, "Maximum", "Maximum"),
                ],
                line=1.5,
                line_label="P2",
            ),
            graph(
                "Fleet cycle: median severity of a group",
                [
                    s.own(OwnMetric.FleetCycleLevel, "Average", "average group"),
                    s.own(OwnMetric.FleetCycleLevel, "Maximum", "highest group"),
                ],
            ),
        ],
        [alarms("Alarms about the fleet", s.fleet_alarms)],
    ]
