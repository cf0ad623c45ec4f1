"""Retiring a server: its incident ends with a word, and what comes from it later is a new server of the same name."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from treeline.app.alert.writer import AlertWriter
from treeline.core.alert import Alert
from treeline.core.detection.policy import NONE
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import NEVER
from treeline.core.times import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """That somebody took a server out of service."""

    server_id: str
    group: int
    reason: str
    by: str
    retired_ms: int  # by the wall clock; what was received up to then is of the server that was retired

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "server_id": self.server_id,
            "group": self.group,
            "reason": self.reason,
            "by": self.by,
            "retired_at": iso(self.retired_ms),
        }


def retire(
    state: FleetState, model: ModelPackage, retirements: Iterable[Retirement], *, alerts: AlertWriter, now_ms: int
) -> tuple[list[str], list[Alert]]:
    """Take retired servers out of a group's state.

    Args:
        state: Changed in place. What it has of a retired server is forgotten. A retirement that it knows already
            changes nothing, nor does one of before the server came back.
        model: Of the state.
        retirements: Of the group's servers.
        alerts: Writes the end of an open incident.
        now_ms: The wall clock.

    Returns:
        The servers that were taken out, and the ends of their open incidents.
    """
    retired, ended = list[str](), list[Alert]()
    for retirement in retirements:
        server_id = retirement.server_id
        row = state.rows().get(server_id)
        if row is None:  # nothing of it was decided yet; what waits must not bring it back
            state.add([server_id])
            row = state.rows()[server_id]
        if state.retired_at[row] >= retirement.retired_ms:
            continue
        # What it sent between the command and now has been decided as the old server's.
        until_ms = max(retirement.retired_ms, int(state.last_received_at[row]))
        if state.incident[row] != NONE:
            state.next_step(server_id)
            ended.append(
                alerts.write_retired(
                    state,
                    row,
                    reason=retirement.reason,
                    retired_ms=retirement.retired_ms,
                    now_ms=now_ms,
                    model_version=model.model_version,
                )
            )
        model.begin_anew(state, row)
        state.retired_at[row] = until_ms
        retired.append(server_id)
    return retired, ended


def receipts_of_before(state: FleetState) -> dict[str, str]:
    """By server that was ever retired, until when (ISO) what was received is of the one that was."""
    return {server: iso(at) for server, at in zip(state.servers, state.retired_at.tolist(), strict=True) if at != NEVER}
