"""What novelty kept from paging in a backtest: for a terminal and for JSON."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from report.backtest.entries import open_incident
from training.evaluate.backtest import Backtest
from training.history.grid import Grid
from treeline.core.channels import registry
from treeline.core.severity import P2_SEVERITY
from treeline.core.times import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBackPage:
    """What would have paged, had the server itself not reached as much in earlier hours."""

    server_id: str
    at_ms: int  # the first observation that would have opened an incident
    until_ms: int  # the last one that was held back
    severity: float  # the highest of them, without novelty
    channel: str  # that gave it

    def __str__(self) -> str:
        """Why it did not page."""
        return f"{self.channel} meant severity {self.severity:.2f}, but the server had reached as much in earlier hours"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "server_id": self.server_id,
            "at": iso(self.at_ms),
            "until": iso(self.until_ms),
            "severity_without_novelty": self.severity,
            "channel": self.channel,
            "why": str(self),
        }


def held_back_entries(grid: Grid, detected: Backtest) -> list[HeldBackPage]:
    """What novelty kept from paging, in order of time; observations within the policy's quiet time are one entry.

    Args:
        grid: What was measured.
        detected: What detection made of it; a rule of alarms holds nothing back.
    """
    trace, policy = detected.trace, detected.policy
    if trace.held is None or trace.held_severity is None:
        return []
    found = []
    for column, server in enumerate(grid.servers):
        severity = np.nan_to_num(trace.held_severity[:, column])
        rows = np.flatnonzero((trace.held[:, column] >= 0) & (severity >= P2_SEVERITY))
        apart = np.flatnonzero(np.diff(grid.times_ms[rows]) > policy.quiet_s * 1000) + 1
        for run in np.split(rows, apart):
            if len(run) < policy.needed or open_incident(detected, server, int(grid.times_ms[run[-1]])) is not None:
                continue  # too few to open anything, or told by the incident that was open
            highest = int(run[severity[run].argmax()])
            found.append(
                HeldBackPage(
                    server_id=server,
                    at_ms=int(grid.times_ms[run[policy.needed - 1]]),
                    until_ms=int(grid.times_ms[run[-1]]),
                    severity=float(severity[highest]),
                    channel=registry.every_channel()[int(trace.held[highest, column])].name,
                )
            )
    return sorted(found, key=lambda entry: (entry.at_ms, entry.server_id))
