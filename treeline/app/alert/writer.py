"""From an incident's change to its alert: which metrics moved, by how much, and when each step was done."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from treeline.core.alert import Alert, AlertEvent, Clocks, Priority
from treeline.core.detection.detector import Decided, PreparedRound
from treeline.core.detection.evidence import Bands, metric_evidence
from treeline.core.detection.policy import FLEET, FLEET_ROW, OPEN_P1, Change
from treeline.core.model.package import ModelPackage
from treeline.core.profile import Metric
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER
from treeline.core.statistics import FloatArray
from treeline.core.times import iso

TOP_METRICS = 4
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertWriter:
    """Writes alerts; knows what a deployment is called and where its pages are."""

    identity: str  # "<account>/<region>/<profile>", the stable part of every dedup key
    declared: Mapping[str, Metric] = field(default_factory=dict)  # by name: units and limits
    runbook_url: str = ""
    dashboard_url: str = ""

    # long: half of it is its docstring and the alert's fields, one a line
    def write(
        self,
        change: Change,
        *,
        group: int,
        state: FleetState,
        model: ModelPackage,
        prepared: PreparedRound,
        decided: Decided,
        scores: FloatArray,
        received_ms: npt.NDArray[np.int64],
        scored_ms: int,
    ) -> Alert:
        """The alert of one change, not yet stamped with a publishing time.

        Args:
            change: What happened.
            group: Named on alerts of incidents that servers share.
            state, model: Of the group.
            prepared, decided: The round of the deciding observation.
            scores: Of the round's ready servers.
            received_ms: Receipt of each observation of the batch that the round was cut from.
            scored_ms: When the scores were in.
        """
        batch = prepared.round
        if change.row == FLEET_ROW:
            # Groups see the same event within minutes of each other: the hour makes it one incident.
            opened = iso(change.opened_at - change.opened_at % _HOUR_MS)
            server_id, metrics, labels = FLEET, [], {"group": str(group)}
            score, threshold = float(np.median(scores)) if len(scores) else 0.0, 0.0
            received = int(received_ms[batch.index].max())
        else:
            opened, server_id, labels = iso(change.opened_at), state.servers[change.row], {}
            at = int(np.flatnonzero(batch.rows[prepared.ready] == change.row)[0])
            bands = Bands.of(state, batch.rows[prepared.ready], prepared.features).at(at)
            measured = batch.values[prepared.ready[at]]
            metrics = metric_evidence(model.metrics, measured, bands, self.declared)[:TOP_METRICS]
            score, threshold = float(scores[at]), float(decided.calibrated.threshold[at])
            received = int(received_ms[batch.index[prepared.ready[at]]])
        return Alert(
            incident_id=f"{server_id}/{opened}",
            sequence=change.sequence,
            event=change.event,
            priority=change.priority,
            server_id=server_id,
            dedup_key=f"{self.identity}/{server_id}",
            severity=round(change.severity, 4),
            score=score,
            threshold=threshold,
            metrics=metrics,
            clocks=Clocks(
                first_anomalous_at=iso(change.first_anomalous_at),
                observed_at=iso(change.at),
                received_at=iso(received),
                scored_at=iso(scored_ms),
                published_at="",
            ),
            model_version=model.model_version,
            labels=labels,
            runbook_url=f"{self.runbook_url}/{change.priority.lower()}.md",
            dashboard_url=self.dashboard_url,
            follows="" if change.follows_opened_at == NEVER else f"{server_id}/{iso(change.follows_opened_at)}",
        )

    def write_retired(
        self, state: FleetState, row: int, *, reason: str, retired_ms: int, now_ms: int, model_version: str
    ) -> Alert:
        """The end of a server's open incident because somebody retired the server.

        Args:
            state: Of its group; `sequence` counts this change already.
            row: The server's.
            reason: Why it was retired.
            retired_ms, now_ms: When that was asked for and when it is done, by the wall clock.
            model_version: Of the state's model.
        """
        server_id = state.servers[row]
        priority = Priority.P1 if state.incident[row] == OPEN_P1 else Priority.P2
        return Alert(
            incident_id=f"{server_id}/{iso(int(state.opened_at[row]))}",
            sequence=int(state.sequence[row]),
            event=AlertEvent.RESOLVED,
            priority=priority,
            server_id=server_id,
            dedup_key=f"{self.identity}/{server_id}",
            severity=round(float(state.severity[row]), 4),
            score=0.0,
            threshold=0.0,
            metrics=[],
            clocks=Clocks(
                first_anomalous_at=iso(int(state.first_above_at[row])),
                observed_at=iso(int(state.last_at[row])),
                received_at=iso(retired_ms),
                scored_at=iso(now_ms),
                published_at="",
            ),
            model_version=model_version,
            runbook_url=f"{self.runbook_url}/{priority.lower()}.md",
            dashboard_url=self.dashboard_url,
            ended_by=f"retired: {reason}",
        )
