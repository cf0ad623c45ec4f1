"""An incident's origin: its server's state just before it became anomalous, from which its decision can be recomputed.

The state in the table moves on, so a copy is stored with the scores. A week later it still shows why a page went out,
and what would have prevented it. It is stored for every server that has no open incident and exceeded P2's severity in
one of its last observations, because only later observations show whether an incident opens.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.core.alert import Alert, AlertEvent
from treeline.core.arrays import Home
from treeline.core.detection.policy import FLEET, NONE, PolicySettings
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation import local_time, season
from treeline.core.profile import Metric, from_json, to_json
from treeline.core.state import table
from treeline.core.state.fleet import FleetState
from treeline.core.times import DEFAULT_ZONE

MAX_ORIGIN_BYTES = 24_000  # of one commit, whose item holds 400 KB; one takes 3 KB at 4 metrics, 10 KB at 38
SLOTS_AHEAD = 2 * 3_600_000 // season.SLOT_MS  # of the seasonal table: what opens does so within two hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A server before a commit in which it exceeded a tier."""

    server_id: str
    state: FleetState  # of that server alone
    # Bucket -> the severity that the group's servers shared in it, which was taken off each server's own.
    levels: Mapping[int, float]
    # Bucket -> by how much the group's scores lay above their averages; only where the score is held against them.
    score_excesses: Mapping[int, float] = field(default_factory=dict)
    policy: PolicySettings = field(default_factory=PolicySettings)  # the stage's; a block says what overrode it
    declared: tuple[Metric, ...] = ()  # the stage's metrics, by whose limits was decided; none in older ones
    zone: str = DEFAULT_ZONE  # the server's time zone

    def pack(self) -> bytes:
        """As bytes, compressed."""
        head = {
            "levels": sorted(self.levels.items()),
            "score_excesses": sorted(self.score_excesses.items()),
            "policy": self.policy.to_json(),
            "declared": json.loads(to_json(self.declared)),
            "zone": self.zone,
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        return zlib.compress(struct.pack("<I", len(text)) + text + self.state.pack(Home.STATE, Home.TABLE))

    @classmethod
    def unpack(cls, data: bytes) -> "Origin":
        """Read what `pack` wrote; raises ModelMismatchError for anything else."""
        try:
            body = zlib.decompress(data)
            (size,) = struct.unpack_from("<I", body)
            head = dict(json.loads(body[4 : 4 + size]))
            state = FleetState.unpack(body[4 + size :])
            return cls(
                server_id=state.servers[0],
                state=state,
                levels=_by_bucket(head["levels"]),
                score_excesses=_by_bucket(head.get("score_excesses", [])),
                policy=PolicySettings.from_json(head["policy"]),
                declared=from_json(head.get("declared", ())),
                zone=head.get("zone", DEFAULT_ZONE),
            )
        except (zlib.error, struct.error, ValueError, TypeError, KeyError, IndexError) as error:
            raise ModelMismatchError(f"an incident's origin is not readable: {error}") from error


def _by_bucket(pairs: Iterable[tuple[Any, Any]]) -> dict[int, float]:
    return {int(bucket): float(value) for bucket, value in pairs}


def of_server(state: FleetState, server_id: str) -> FleetState:
    """One server's row of a state, by itself."""
    own = FleetState(state.metrics, servers=[server_id], version=state.version, layout=state.layout)
    own.set_row(0, state.row_values(state.rows()[server_id]))
    own.activation = state.activation
    return own


def _clock_change(zone: str, at_ms: int) -> int:
    """By how many slots clocks are set back within the time that an origin's table reaches ahead; negative: forward."""
    ahead_ms = SLOTS_AHEAD * season.SLOT_MS
    now, then = local_time.offsets_s(np.array([zone, zone], dtype=object), np.array([at_ms, at_ms + ahead_ms]))
    return int(now - then) * 1000 // season.SLOT_MS


@dataclass(frozen=True, slots=True)
class Origins:
    """Makes the origins of one commit."""

    group: int
    model_version: str
    before: FleetState  # the group's state before the commit; its table is filled further where an origin needs it
    levels: Mapping[int, float]  # bucket -> shared severity, of the commit
    score_excesses: Mapping[int, float]  # bucket -> that of the scores, of the commit
    policy: PolicySettings  # the stage's
    declared: tuple[Metric, ...]  # its metrics
    zones: npt.NDArray[np.object_]  # by the state's row
    tables: SeasonBlocks

    def packed(self, after: FleetState, alerts: Iterable[Alert]) -> dict[str, bytes]:
        """The packed origins, by server, of incidents that the commit opened or that may open soon.

        Args:
            after: The state after the commit.
            alerts: What the commit changed.
        """
        opened = [a.server_id for a in alerts if a.event is AlertEvent.OPENED and a.server_id != FLEET]
        suspects = [after.servers[row] for row in after.above_p2.nonzero()[0].tolist()]
        rows, found, size = self.before.rows(), dict[str, bytes](), 0
        suspects = [server_id for server_id in suspects if self.before.incident[rows[server_id]] == NONE]
        for server_id in dict.fromkeys([*opened, *suspects]):
            row = rows[server_id]
            zone = self.zones[row]
            origin = Origin(
                server_id=server_id,
                state=self._state(server_id, int(after.slot[row]), _clock_change(zone, int(after.last_at[row]))),
                zone=zone,
                levels=self.levels,
                score_excesses=self.score_excesses,
                policy=self.policy,
                declared=self.declared,
            ).pack()
            size += len(origin)
            if size > MAX_ORIGIN_BYTES:
                break
            found[server_id] = origin
        return found

    def _state(self, server_id: str, slot: int, change: int) -> FleetState:
        """The server's own, with the table's slots of the commit, a day at most, and those of the next two hours."""
        before = self.before
        first = max(int(before.slot[before.rows()[server_id]]), slot - season.SLOTS)
        first = min(first, slot, slot - change)  # where clocks are set back, slots come again
        last = slot + SLOTS_AHEAD + max(-change, 0)
        blocks = set[int]() if before.rolling_window_s else season.blocks_at(range(first, last + 1))
        self.tables.fill(self.group, self.model_version, before, blocks)
        state = of_server(before, server_id)
        table.keep_only(state, blocks)
        return state
