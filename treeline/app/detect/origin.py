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

from treeline.core.alert import Alert, AlertEvent
from treeline.core.detection.policy import FLEET, NONE, PolicySettings
from treeline.core.errors import ModelMismatchError
from treeline.core.state.fleet import FleetState

MAX_ORIGINS = 16  # of one commit: each takes 3 KB of an item, which holds 400 KB


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A server before a commit in which it exceeded a tier."""

    server_id: str
    state: FleetState  # of that server alone
    # Bucket -> the severity that the group's servers shared in it, which was taken off each server's own.
    levels: Mapping[int, float]
    policy: PolicySettings = field(default_factory=PolicySettings)  # the stage's; a block says what overrode it

    def pack(self) -> bytes:
        """As bytes, compressed."""
        head = {"levels": sorted(self.levels.items()), "policy": self.policy.to_json()}
        text = json.dumps(head, separators=(",", ":")).encode()
        return zlib.compress(struct.pack("<I", len(text)) + text + self.state.pack())

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
                levels={int(bucket): float(level) for bucket, level in head["levels"]},
                policy=PolicySettings(**head["policy"]),
            )
        except (zlib.error, struct.error, ValueError, TypeError, KeyError, IndexError) as error:
            raise ModelMismatchError(f"an incident's origin is not readable: {error}") from error


def of_server(state: FleetState, server_id: str) -> FleetState:
    """One server's row of a state, by itself."""
    own = FleetState(state.metrics, servers=[server_id], version=state.version)
    own.set_row(0, state.row_values(state.rows()[server_id]))
    own.activation = state.activation
    return own


def origins(
    before: bytes, after: FleetState, alerts: Iterable[Alert], levels: Mapping[int, float], policy: PolicySettings
) -> dict[str, bytes]:
    """The packed origins, by server, of incidents that a commit opened or that may open soon.

    Args:
        before: The group's state, packed before the commit.
        after: The state after it.
        alerts: What the commit changed.
        levels: Bucket -> shared severity, of the commit.
        policy: The stage's.
    """
    opened = [a.server_id for a in alerts if a.event is AlertEvent.OPENED and a.server_id != FLEET]
    suspects = [after.servers[row] for row in after.above_p2.nonzero()[0].tolist()]
    if not opened and not suspects:
        return {}
    state = FleetState.unpack(before)
    rows = state.rows()
    suspects = [server_id for server_id in suspects if state.incident[rows[server_id]] == NONE]
    return {
        server_id: Origin(server_id=server_id, state=of_server(state, server_id), levels=levels, policy=policy).pack()
        for server_id in list(dict.fromkeys([*opened, *suspects]))[:MAX_ORIGINS]
    }
