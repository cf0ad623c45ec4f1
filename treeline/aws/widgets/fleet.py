"""What the map of the fleet reads: the detector's state of every group."""

import time

import numpy as np

from treeline.app.widgets.fleet_map import FleetView, GroupView, ServerView
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.detect.detector_records import DetectorRecords
from treeline.aws.ingest.servers import server_count
from treeline.aws.widgets.pointers import model_pointers
from treeline.core.state.fleet import FleetState, Phase
from treeline.core.state.layout import NEVER


class FleetReader:
    """The fleet as the detector last left it.

    Args:
        dynamodb: The client.
        servers_table: Numbers of servers.
        state_table: The detector's records.
        controls_table: Which model is active.
        group_size: Servers per group.
        silent_after_ms: Without a record for so long a server is silent.
    """

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        *,
        servers_table: str,
        state_table: str,
        controls_table: str,
        group_size: int,
        silent_after_ms: int,
    ) -> None:
        self._dynamodb = dynamodb
        self._servers_table = servers_table
        self._records = DetectorRecords(dynamodb, state_table, clock_ms=lambda: time.time_ns() // 1_000_000)
        self._controls_table = controls_table
        self._group_size = group_size
        self._silent_after_ms = silent_after_ms

    def read(self, now_ms: int) -> FleetView:
        """The head and the log of each group."""
        expected = server_count(self._dynamodb, self._servers_table)
        active = model_pointers(self._dynamodb, self._controls_table).get("active", {})
        version = active.get("model_version", "")
        groups = []
        for number in range(-(-expected // self._group_size) if version else 0):
            record = self._records.load(number, version)
            if record is not None:
                groups.append(self._group(number, record.state, now_ms))
        return FleetView(expected=expected, groups=groups, model_version=version)

    def _group(self, number: int, state: FleetState, now_ms: int) -> GroupView:
        received = state.last_received_at
        silent = (received != NEVER) & (received < now_ms - self._silent_after_ms)
        servers = [
            ServerView(
                server_id=server,
                severity=float(np.nan_to_num(state.severity[row])),
                is_warming_up=bool(state.phase[row] == Phase.WARMING_UP),
                is_silent=bool(silent[row]),
                has_incident=bool(state.incident[row]),
            )
            for row, server in enumerate(state.servers)
        ]
        return GroupView(number=number, servers=servers, cycle_level=float(np.nan_to_num(state.cycle.level)))
