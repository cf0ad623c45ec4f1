"""Which incident changes are published: all but those that a mute, a maintenance window or a shadow stage suppresses.

A suppressed incident is decided and stored like any other. One `suppressed` event is published for it, and its opening
if it is still open when the mute ends. If the opening was never published, the resolution is not published either. With
paging `shadow` nothing is published.

A change keeps the number under which it was decided (`step`). Published changes are numbered without gaps (`sequence`),
because receivers put them in order by it.
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
    SHADOW = "shadow"  # everything is decided and stored, nothing is published


MUTED = "muted"


@dataclass(slots=True)
class SuppressedIncident:
    """A server's incident of which something was not published; stored beside the detector's state."""

    incident_id: str
    opening_published: bool = False  # whether its opening was
    suppression_published: bool = False  # whether its `suppressed` event was
    sequence_offset: int = 0  # a change's `sequence` less its `step`
    latest: Alert | None = None  # the last change that was not published; None where all later ones were
    # It ended, and nothing of it was published. Kept until the server's next incident, whose alert must not say that it
    # follows this one.
    resolved_silently: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values. The keys are older than the names of the fields."""
        return {
            "incident_id": self.incident_id,
            "is_known": self.opening_published,
            "is_said": self.suppression_published,
            "shift": self.sequence_offset,
            "latest": None if self.latest is None else self.latest.to_json(),
            "is_over": self.resolved_silently,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "SuppressedIncident":
        """Read what `to_json` wrote."""
        return cls(
            incident_id=str(body["incident_id"]),
            opening_published=bool(body["is_known"]),
            suppression_published=bool(body["is_said"]),
            sequence_offset=int(body["shift"]),
            latest=None if body["latest"] is None else Alert.from_json(body["latest"]),
            resolved_silently=bool(body["is_over"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Muting:
    """Decides for each change whether it is published."""

    paging: Paging = Paging.PEOPLE
    controls: Controls | None = None  # mutes and maintenance windows; None: there are none
    labels: ServerLabels | None = None  # Servers' labels, put on every alert; None: none are known

    def apply(
        self,
        alerts: Sequence[Alert],
        suppressed: dict[str, SuppressedIncident],
        *,
        event_ms: int,
        next_step: Callable[[str], int],
    ) -> list[Alert]:
        """The changes as they are to be stored; those without `suppressed` are to be published too.

        Args:
            alerts: The changes of one commit, in event-time order.
            suppressed: By server; changed in place, to be committed together with what is returned.
            event_ms: The newest event time of the commit; a mute that ends before it is over.
            next_step: Draws a server's next change number, for the alert that is published when a mute ends.
        """
        if not alerts and all(entry.latest is None for entry in suppressed.values()):
            return []
        run = _MutingRun(self.paging, self.controls.in_force() if self.controls else (), suppressed)
        stored = [run.change(self._labelled(alert)) for alert in alerts]
        for server_id, entry in suppressed.items():
            late = run.late(entry, event_ms, partial(next_step, server_id))
            stored += [late] if late is not None else []
        return stored

    def _labelled(self, alert: Alert) -> Alert:
        if self.labels is None or alert.server_id == FLEET:
            return alert
        return replace(alert, labels={**self.labels.of(alert.server_id), **alert.labels})


@dataclass(frozen=True, slots=True)
class _MutingRun:
    paging: Paging
    controls: Sequence[Control]
    suppressed: dict[str, SuppressedIncident]

    def change(self, alert: Alert) -> Alert:
        """One decided change as it is to be stored, and published where nothing suppresses it."""
        entry = self.suppressed.get(alert.server_id)
        if alert.event is AlertEvent.OPENED:
            if entry is not None and entry.resolved_silently and alert.follows == entry.incident_id:
                alert = replace(alert, follows="")  # nothing of that one was published
            entry = None
            self.suppressed.pop(alert.server_id, None)
        step = alert.sequence
        current = entry or SuppressedIncident(alert.incident_id, opening_published=alert.event is not AlertEvent.OPENED)
        why, muted_by = self._suppressed_by(alert, parse_iso(alert.clocks.observed_at))
        if alert.event is AlertEvent.RESOLVED:
            self.suppressed.pop(alert.server_id, None)
            if current.opening_published:  # the end of a published incident is published too, muted or not
                return self._numbered(alert, current, step)
            if not current.suppression_published:
                self.suppressed[alert.server_id] = SuppressedIncident(alert.incident_id, resolved_silently=True)
            return replace(alert, step=step, suppressed=why or MUTED, muted_by=muted_by)
        if not why:
            if entry is None:
                return alert
            event = alert.event if entry.opening_published else AlertEvent.OPENED
            entry.opening_published, entry.latest = True, None
            return self._numbered(replace(alert, event=event), entry, step)
        self.suppressed[alert.server_id] = current
        current.latest = alert
        if why == MUTED and not current.suppression_published:
            current.suppression_published = True
            return replace(self._numbered(alert, current, step), event=AlertEvent.SUPPRESSED, muted_by=muted_by)
        current.sequence_offset -= 1
        return replace(alert, step=step, suppressed=why, muted_by=muted_by)

    def late(self, entry: SuppressedIncident, event_ms: int, next_step: Callable[[], int]) -> Alert | None:
        """The alert to publish once nothing suppresses the incident any more; None as long as something does."""
        if entry.latest is None or self._suppressed_by(entry.latest, event_ms)[0]:
            return None
        alert, was_muted_by = (
            entry.latest,
            self._suppressed_by(entry.latest, parse_iso(entry.latest.clocks.observed_at))[1],
        )
        event = alert.event if entry.opening_published else AlertEvent.OPENED
        entry.opening_published, entry.latest = True, None
        return replace(self._numbered(alert, entry, next_step()), event=event, muted_by=was_muted_by or "ended")

    def _numbered(self, alert: Alert, entry: SuppressedIncident, step: int) -> Alert:
        return replace(alert, sequence=step + entry.sequence_offset, step=step)

    def _suppressed_by(self, alert: Alert, at_ms: int) -> tuple[str, str]:
        """Why a change is not published (empty: it is), and the id of the mute or maintenance window."""
        if self.paging is Paging.SHADOW:
            return Paging.SHADOW.value, ""
        control = covering(self.controls, alert.server_id, alert.labels, at_ms)
        return ("", "") if control is None else (MUTED, control.id)
