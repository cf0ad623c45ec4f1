"""Who is told of an incident change: people, or, while a mute covers it or the stage pages nobody, no one yet.

A muted incident is decided and stored like any other. People get one `suppressed` event for it, and its pages when
the mute ends while it is still open; of a change they were never told of they hear nothing. With paging `shadow`
nobody hears of anything.

Every change keeps the number it was decided under (`step`); what is told is numbered without holes (`sequence`),
because that is how whoever receives it puts events in order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from treeline.app.alert.controls import Control, Controls, ServerLabels, covering
from treeline.core.alert import Alert, AlertEvent
from treeline.core.detection.policy import FLEET
from treeline.core.times import parse_iso


class Paging(StrEnum):
    """A stage's setting `paging`."""

    PEOPLE = "people"
    SHADOW = "shadow"  # everything is done and stored, nobody is told


MUTED = "muted"


@dataclass(slots=True)
class Untold:
    """What people do not know of a server's open incident; kept beside the detector's state.

    Attributes:
        incident_id: The incident.
        is_known: Whether people were told that it opened.
        is_said: Whether they were told that something is suppressed.
        shift: Added to a change's step it gives the number under which it is told.
        latest: The last change they were not told of; None: they know all.
        is_over: The incident ended without a word: kept until the next one, which then follows none.
    """

    incident_id: str
    is_known: bool = False
    is_said: bool = False
    shift: int = 0
    latest: Alert | None = None
    is_over: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "incident_id": self.incident_id,
            "is_known": self.is_known,
            "is_said": self.is_said,
            "shift": self.shift,
            "latest": None if self.latest is None else self.latest.to_json(),
            "is_over": self.is_over,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Untold":
        """Read what `to_json` wrote."""
        latest = body["latest"]
        return cls(**{**body, "latest": None if latest is None else Alert.from_json(latest)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Muting:
    """Decides for each change whether people are told.

    Args:
        paging: The stage's setting.
        controls: Mutes and maintenance windows; None: there are none.
        labels: Servers' labels, put on every alert; None: none are known.
    """

    paging: Paging = Paging.PEOPLE
    controls: Controls | None = None
    labels: ServerLabels | None = None

    def apply(
        self,
        alerts: Sequence[Alert],
        untold: dict[str, Untold],
        *,
        event_ms: int,
        next_step: Callable[[str], int],
    ) -> list[Alert]:
        """What is to be stored, and told where it is not `quiet`.

        Args:
            alerts: The changes of one commit, in event-time order.
            untold: By server; changed in place, and to be committed together with what is returned.
            event_ms: The newest event time of the commit: a mute that ended before it has ended.
            next_step: Takes a server's next number for a change, for one that is told when a mute ends.
        """
        if not alerts and all(entry.latest is None for entry in untold.values()):
            return []
        run = _Run(self.paging, self.controls.in_force() if self.controls else (), untold)
        told = [run.change(self._labelled(alert)) for alert in alerts]
        for server_id, entry in untold.items():
            late = run.late(entry, event_ms, partial(next_step, server_id))
            told += [late] if late is not None else []
        return told

    def _labelled(self, alert: Alert) -> Alert:
        if self.labels is None or alert.server_id == FLEET:
            return alert
        return replace(alert, labels={**self.labels.of(alert.server_id), **alert.labels})


@dataclass(frozen=True, slots=True)
class _Run:
    paging: Paging
    controls: Sequence[Control]
    untold: dict[str, Untold]

    def change(self, alert: Alert) -> Alert:
        """One decided change as it is to be stored and told."""
        entry = self.untold.get(alert.server_id)
        if alert.event is AlertEvent.OPENED:
            if entry is not None and entry.is_over and alert.follows == entry.incident_id:
                alert = replace(alert, follows="")  # nobody was ever told of that one
            entry = None
            self.untold.pop(alert.server_id, None)
        step = alert.sequence
        current = entry or Untold(alert.incident_id, is_known=alert.event is not AlertEvent.OPENED)
        quiet, muted_by = self._silence(alert, parse_iso(alert.clocks.observed_at))
        if alert.event is AlertEvent.RESOLVED:
            self.untold.pop(alert.server_id, None)
            if current.is_known:  # whoever was told of an incident hears its end, whatever is muted
                return self._told(alert, current, step)
            if not current.is_said:
                self.untold[alert.server_id] = Untold(alert.incident_id, is_over=True)
            return replace(alert, step=step, quiet=quiet or MUTED, muted_by=muted_by)
        if not quiet:
            if entry is None:
                return alert
            event = alert.event if entry.is_known else AlertEvent.OPENED
            entry.is_known, entry.latest = True, None
            return self._told(replace(alert, event=event), entry, step)
        self.untold[alert.server_id] = current
        current.latest = alert
        if quiet == MUTED and not current.is_said:
            current.is_said = True
            return replace(self._told(alert, current, step), event=AlertEvent.SUPPRESSED, muted_by=muted_by)
        current.shift -= 1
        return replace(alert, step=step, quiet=quiet, muted_by=muted_by)

    def late(self, entry: Untold, event_ms: int, next_step: Callable[[], int]) -> Alert | None:
        """What people are told once nothing keeps it from them any more."""
        if entry.latest is None or self._silence(entry.latest, event_ms)[0]:
            return None
        alert, was_muted_by = entry.latest, self._silence(entry.latest, parse_iso(entry.latest.clocks.observed_at))[1]
        event = alert.event if entry.is_known else AlertEvent.OPENED
        entry.is_known, entry.latest = True, None
        return replace(self._told(alert, entry, next_step()), event=event, muted_by=was_muted_by or "ended")

    def _told(self, alert: Alert, entry: Untold, step: int) -> Alert:
        return replace(alert, sequence=step + entry.shift, step=step)

    def _silence(self, alert: Alert, at_ms: int) -> tuple[str, str]:
        """Why people are not told, and the id of the control that says so."""
        if self.paging is Paging.SHADOW:
            return Paging.SHADOW.value, ""
        control = covering(self.controls, alert.server_id, alert.labels, at_ms)
        return ("", "") if control is None else (MUTED, control.id)
