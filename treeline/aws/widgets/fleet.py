"""What the map of the fleet reads: the detector's state of every group."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from treeline.app.widgets.fleet_map import FleetView, GroupView, ServerView
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.ingest.servers import fleet_size
from treeline.aws.widgets.pointers import model_pointers
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import NEVER


@dataclass(frozen=True, slots=True)
class FleetReader:
    """The fleet as the detector last left it; a server of which nothing came for `silent_after_ms` is silent."""

    dynamodb: DynamoDBClient
    _: KW_ONLY
    records: DetectorRecords
    servers_table: str
    controls_table: str
    group_size: int
    silent_after_ms: int

    def read(self, now_ms: int) -> FleetView:
        """The head and the log of each group."""
        size = fleet_size(self.dynamodb, self.servers_table)
        active = model_pointers(self.dynamodb, self.controls_table).get("active", {})
        version = active.get("model_version", "")
        groups = []
        for number in range(-(-size.registered // self.group_size) if version else 0):
            record = self.records.load(number, version)
            if record is not None:
                groups.append(self._group(number, record.state, now_ms))
        return FleetView(expected=size.expected, groups=groups, model_version=version)

    def _group(self, number: int, state: FleetState, now_ms: int) -> GroupView:
        received, is_retired = state.last_received_at, state.is_retired
        silent = (received != NEVER) & (received < now_ms - self.silent_after_ms)
        servers = [
            ServerView(
                server_id=server,
                severity=float(np.nan_to_num(state.severity[row])),
                is_warming_up=bool(state.phase[row] == Phase.WARMING_UP),
                is_silent=bool(silent[row]),
                has_incident=bool(state.incident[row]),
            )
            for row, server in enumerate(state.servers)
            if not is_retired[row]
        ]
        return GroupView(number=number, servers=servers, cycle_level=float(np.nan_to_num(state.cycle.level)))
