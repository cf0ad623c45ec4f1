"""What the deployment knows of its fleet's bad hours: labels, maintenance windows, incidents still open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.history.labels import FLEET, Label
from training.prepare.hygiene import Disturbances
from treeline.app.alert.controls import ControlKind, ServerLabels
from treeline.aws.alert.controls import ControlTable
from treeline.aws.incident_index import open_incidents
from treeline.core.times import parse_iso


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbanceTables:
    """Reads them from the deployed tables."""

    client: Callable[[str], Any]
    controls_table: str  # labels
    mutes_table: str  # maintenance windows
    incidents_table: str  # open incidents
    server_labels: ServerLabels  # which a window may name

    def read(self, servers: Sequence[str]) -> Disturbances:
        """Everything known about these servers."""
        dynamodb = self.client("dynamodb")
        labels = [
            Label(server_id=label.server_id, start_ms=label.start_ms, end_ms=label.end_ms, kind=label.note)
            for label in ControlTable(dynamodb, self.controls_table).labels().values()
            if label.is_incident
        ]
        windows = ControlTable(dynamodb, self.mutes_table).windows(ControlKind.MAINTENANCE)
        known: Mapping[str, Mapping[str, str]] = {}
        if any(window.scope.labels for window in windows):
            known = {server: self.server_labels.of(server) for server in servers}
        maintenance = []
        for window in windows:
            last_ms = window.until_ms - 1
            if window.scope.fleet:
                maintenance.append((FLEET, window.starts_ms, last_ms))
                continue
            maintenance += [
                (server, window.starts_ms, last_ms)
                for server in servers
                if window.scope.covers(server, known.get(server, {}))
            ]
        still_open = tuple(
            (item["server_id"]["S"], parse_iso(item["opened_at"]["S"]))
            for item in open_incidents(dynamodb, self.incidents_table)
        )
        return Disturbances(labels=tuple(labels), open_incidents=still_open, maintenance=tuple(maintenance))
